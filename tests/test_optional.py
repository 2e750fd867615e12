"""Which process is the command line, and what is missing."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest

from keras_sgdr._optional import held_back, is_command_line


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


LINES = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"I0000 00:00:1795797966.894026    7921 port.cc:153] information\n",
    b"W0000 00:00:1795797966.894026    7921 port.cc:153] a warning\n",
    b"E0000 00:00:1795797966.894026    7921 port.cc:153] an error\n",
    b"of someone else\n",
)


def logged(level: int, error: Exception | None = None) -> None:
    with held_back(level):
        for line in LINES:
            os.write(2, line)
        if error is not None:
            raise error


@pytest.mark.parametrize(("level", "seen"), [(0, (0, 1, 2, 3, 4)), (1, (0, 2, 3, 4)), (2, (3, 4)), (3, (4,))])
def test_what_is_below_the_level_is_held_back(
    level: int, seen: tuple[int, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    logged(level)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == b"".join([*(LINES[number] for number in seen), b"afterwards\n"]).decode()


def test_all_is_seen_of_what_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportError):
        logged(3, ImportError())
    assert capfd.readouterr().err == b"".join(LINES).decode()


def test_nothing_fails_without_a_stderr() -> None:
    code = "import os; os.close(2)\nfrom keras_sgdr._optional import held_back\nwith held_back(3): print('done')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "done\n"


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="Of TensorFlow's log.")
def test_the_log_of_an_import_is_what_was_asked_for() -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    code = [sys.executable, "-c", "import keras_sgdr"]
    assert subprocess.run(code, env=environment, stderr=subprocess.PIPE, check=True).stderr == b""
