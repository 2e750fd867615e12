"""What only some parts need: imported when it is used, with the command that installs it in the error."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

__all__ = ["is_command_line", "load"]

_PROGRAMS = ("keras-sgdr", "keras-sgdr.exe", "keras_sgdr")


def is_command_line() -> bool:
    """Whether this process is `keras-sgdr` or `python -m keras_sgdr`.

    It imports no more than its command needs: Keras and a backend take seconds. Everyone else gets all of the package,
    by whose import a saved model finds its classes.
    """
    # The word before the arguments: a script, or the module of `-m`, which `sys.argv` does not tell at this time.
    program, *_ = [*sys.orig_argv[-len(sys.argv) :], ""]
    return Path(program).name in _PROGRAMS


def load(module: str, what: str, extra: str = "study") -> Any:
    """Import a module of an optional package.

    Args:
        module: Its full name, such as `"scipy.stats"`.
        what: What needs it, for the error: `"Drawing"`.
        extra: Name of the extra that brings it.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        package = module.partition(".")[0]
        raise ImportError(f'{what} needs {package}: pip install "keras-sgdr[{extra}]"') from error
