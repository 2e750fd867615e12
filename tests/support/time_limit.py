"""A bound on the processor time of what must return at once, whatever it is given."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

__all__ = ["within_seconds"]


@contextlib.contextmanager
def within_seconds(promised: float) -> Iterator[None]:
    """Require that what is done inside takes at most twice as many seconds of processor time as are promised.

    Twice, because cores are shared; and six times that where coverage counts the lines, each of which costs more then.
    """
    began = time.process_time()
    yield
    took = time.process_time() - began
    assert took < promised * (2 if sys.gettrace() is None else 12)
