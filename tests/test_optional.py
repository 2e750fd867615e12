"""Which process is the command line, and what is missing."""

from __future__ import annotations

import sys

import pytest

from keras_sgdr._optional import is_command_line


@pytest.mark.parametrize(
    ("orig_argv", "argv", "expected"),
    [
        (["python", "/bin/keras-sgdr", "plan"], ["/bin/keras-sgdr", "plan"], True),
        (["python", "/bin/keras-sgdr"], ["/bin/keras-sgdr"], True),
        # As the package is imported, before its `__main__`.
        (["python", "-X", "dev", "-m", "keras_sgdr", "plan"], ["-m", "plan"], True),
        # Of a package that imports this one, and of one that is given its name.
        (["python", "-m", "trains", "keras_sgdr"], ["-m", "keras_sgdr"], False),
        (["python", "-m", "pytest", "keras_sgdr"], ["/lib/pytest/__main__.py", "keras_sgdr"], False),
        (["python", "keras-sgdr.py"], ["keras-sgdr.py"], False),
        (["python"], [""], False),
        (["python", "-c", "import keras_sgdr"], ["-c"], False),
        # Set by whoever started the interpreter.
        (["python", "-c", "..."], ["pytest", "-n", "2", "tests"], False),
        (["program"], [], False),
    ],
    ids=str,
)
def test_the_command_line_is_known(
    orig_argv: list[str], argv: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    monkeypatch.setattr(sys, "argv", argv)
    assert is_command_line() is expected
