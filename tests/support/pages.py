"""Running the pages of the documentation as a reader does: Python blocks and command lines, one after another.

`python -m tests.support.pages PAGE` runs one in the present folder, on the backend of this process. A Python block
whose first line is a comment such as `# On JAX` is run on that backend alone. One that has a title is a script of its
own, which is not run here but in processes of its own: see `tests/distribution`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tyro

from keras_sgdr import cli

__all__ = ["CHECKOUT", "PAGES", "backends_of", "blocks_of", "is_target", "run_command", "run_page", "scripts_of"]

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs" / "guide").glob("*.md")))
_BACKENDS = {"TensorFlow": "tensorflow", "JAX": "jax", "PyTorch": "torch"}


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    line: int

    @property
    def backend(self) -> str | None:
        """The backend that it is for, None where it is for any."""
        found = re.match(r"# On (\w+)", self.text)
        return _BACKENDS.get(found[1]) if found else None


def blocks_of(page: Path) -> list[Block]:
    """The Python blocks and command lines of a page."""
    text = page.read_text()
    found = re.finditer(r"^```(python|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [Block(each[1], each[2], text[: each.start()].count("\n") + 2) for each in found]


def scripts_of(page: Path) -> dict[str, Block]:
    """The Python blocks of a page that are scripts of their own, by their titles."""
    text = page.read_text()
    found = re.finditer(r'^```python title="([^"\n]+)"\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
    return {each[1]: Block("python", each[2], text[: each.start()].count("\n") + 2) for each in found}


def backends_of(page: Path) -> set[str]:
    """The backends that some block of a page is for."""
    return {block.backend for block in blocks_of(page) if block.backend}


def run_page(page: Path) -> dict[str, Any]:
    """Run all blocks of a page in the present folder.

    Returns:
        The names that its Python blocks have made.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.language == "bash":
            for line in block.text.splitlines():
                run_command(line)
        elif block.backend in (None, keras.config.backend()):
            # At its place in the page, so that a traceback shows the line there.
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    return names


def run_command(line: str) -> None:
    """Run a command of this package; of any other that a page may name, check that it is there.

    Raises:
        AssertionError: If it is none of these.
    """
    words = shlex.split(line, comments=True)
    while words and "=" in words[0]:  # Variables of the environment.
        words = words[1:]
    match words:
        case [] | ["git", "clone", "https://github.com/keras-sgdr/keras-sgdr"] | ["cd", "keras-sgdr"]:
            pass
        case ["keras-sgdr", *arguments]:
            with (
                contextlib.suppress(SystemExit)
                if arguments[-1] in ("--version", "--help")
                else contextlib.nullcontext()
            ):
                cli.run(arguments)
        case ["make", *arguments]:
            assert is_target(next(word for word in arguments if "=" not in word)), line
        case ["pip", "install", *packages]:
            assert all(map(_is_installable, packages)), line
        case ["python", "-m", module]:
            assert importlib.util.find_spec(module) is not None, line
        case ["python", script, *arguments] if script.startswith("examples/"):
            # Its options are read as it reads them, and it is not run.
            example = importlib.import_module(script.removesuffix(".py").replace("/", "."))
            tyro.cli(example.Options, args=arguments)
        case _:
            raise AssertionError(f"A page may have commands that are tested. Received: {line}.")


def is_target(name: str) -> bool:
    """Whether `make NAME` makes something."""
    text = (CHECKOUT / "Makefile").read_text().replace("\\\n", " ")
    declared = re.findall(r"^(?:\.PHONY:|SUITES :=)(.*)", text, re.MULTILINE)
    return name in " ".join(declared).split()


def _is_installable(package: str) -> bool:
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = re.fullmatch(r"\.\[([\w,]+)\]", package)
    return found is not None and set(found[1].split(",")) <= set(extras)


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
