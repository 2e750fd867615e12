"""The packages that only a study needs."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["load"]


def load(name: str) -> Any:
    """A module of an optional package.

    Raises:
        ImportError: If it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'A study needs {name.partition(".")[0]}: pip install "keras-sgdr[study]"') from error
