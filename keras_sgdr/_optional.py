"""What is imported when it is used: optional packages, with the command that installs them in the error, and Keras."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["held_back", "import_keras", "is_command_line", "load"]

# The severities of TensorFlow's log, from which on TF_CPP_MIN_LOG_LEVEL=0, 1, 2 and 3 show it.
_SEVERITIES = "IWEF"
_LOGGED = re.compile(rb"([IWEF])\d{4} |(W)ARNING: All log messages before absl::InitializeLog")
_PROGRAMS = ("keras-sgdr", "keras-sgdr.exe", "keras_sgdr")


def is_command_line() -> bool:
    """Whether this process is `keras-sgdr` or `python -m keras_sgdr`.

    It imports no more than its command needs: Keras and a backend take seconds. Everyone else gets all of the package,
    by whose import a saved model finds its classes.
    """
    # The word before the arguments: a script, or the module of `-m`, which `sys.argv` does not tell at this time.
    program, *_ = [*sys.orig_argv[-len(sys.argv) :], ""]
    return Path(program).name in _PROGRAMS


def import_keras() -> None:
    """Import Keras and its backend, with no more of TensorFlow's log than `TF_CPP_MIN_LOG_LEVEL` asks for.

    As it is imported, TensorFlow 2.21 logs a page whatever that variable says.
    """
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0")
    is_needed = level in ("1", "2", "3") and "keras" not in sys.modules
    with held_back(int(level)) if is_needed else contextlib.nullcontext():
        importlib.import_module("keras")


@contextlib.contextmanager
def held_back(level: int) -> Iterator[None]:
    """Keep what native code logs to stderr below a severity from being seen; all else is, when the block ends.

    Args:
        level: 1 for warnings and above, 2 for errors, 3 for what is fatal.
    """
    with contextlib.ExitStack() as stack:
        try:
            stderr = os.dup(2)
        except OSError:  # Closed: nothing will be seen anyway.
            yield
            return
        stack.callback(os.close, stderr)
        held = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            level = 0  # What it logged may say why.
            raise
        finally:
            os.dup2(stderr, 2)
            held.seek(0)
            for line in held:
                logged = _LOGGED.match(line)
                if logged is None or _SEVERITIES.index((logged[1] or logged[2]).decode()) >= level:
                    os.write(2, line)


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
