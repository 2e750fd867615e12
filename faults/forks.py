"""Forks of this process, which do one thing and end."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

__all__ = ["REFUSED", "forked", "status_of"]

# The exit status after a `ValueError`, by which the package refuses.
REFUSED = 3


def forked(action: Callable[[], object]) -> int:
    """Do it in a fork, which ends with status 0, `REFUSED`, or 1 after any other exception. Returns its process."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException as error:
            code = REFUSED if isinstance(error, ValueError) else 1
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def status_of(child: int) -> int:
    """Wait for a fork. Returns its exit status, below 0 if a signal has ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
