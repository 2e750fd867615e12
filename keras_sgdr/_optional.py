"""Packages that only some parts need: imported when they are used, with the command that installs them in the error."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["load"]


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
