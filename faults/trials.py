"""What was tried, and how each trial ended."""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["KINDS", "Fault", "Hung", "Settings", "Trials", "time_limit"]

Kind = Literal["lost", "wrong", "executed", "outside", "ended", "costly", "inside", "unnamed", "hung"]

KINDS: dict[Kind, str] = {
    "lost": "something that was whole before cannot be read any more",
    "wrong": "a wrong result without a word",
    "executed": "code that a file held was run",
    "outside": "a file was written outside its folder",
    "ended": "the process was ended",
    "costly": "a small file took hundreds of megabytes of memory",
    "inside": "an error from inside, which tells neither the rule nor the fix",
    "unnamed": "an error that does not name the file",
    "hung": "it did not return in time",
}


@dataclass(frozen=True)
class Settings:
    """How a part is run.

    Attributes:
        backend: Of Keras.
        seed: Of everything that is random.
        short: Whether to make a tenth or so of the trials, for the tests.
    """

    backend: str
    seed: int
    short: bool

    def count(self, full: int, short: int) -> int:
        """How many trials to make."""
        return short if self.short else full


class Fault(Exception):  # noqa: N818  # It is what the harness looks for, not an error of its own.
    """What a trial raises where it finds a fault.

    Args:
        kind: One of `KINDS`.
        words: What was found.
    """

    def __init__(self, kind: Kind, words: str) -> None:
        super().__init__(words)
        self.kind = kind


class Hung(BaseException):
    """Raised where a trial does not return in time."""


@dataclass
class Trials:
    """The trials of one kind.

    Attributes:
        what: What was tried.
        backend: Of Keras; empty where none takes part.
        tried: How many.
        refused: How many of them ended with an error that states the rule, what was received and the fix.
        faults: Each as its kind, the trial's name and what was found.
        note: Further figures.
    """

    what: str
    backend: str = ""
    tried: int = 0
    refused: int = 0
    faults: list[tuple[Kind, str, str]] = field(default_factory=list)
    note: str = ""

    def attempt(self, name: str, action: Callable[[], Any], *, within: float = 2.0, names: str | None = None) -> Any:
        """Do something that must end in time, either well or with an error of the package's own.

        Args:
            name: Of this trial, by which a fault is reported.
            action: What to do. It raises `Fault` where it finds one.
            within: Seconds of processor time.
            names: What the error must name, such as the file.

        Returns:
            What `action` returns; None if it raised.
        """
        self.tried += 1
        try:
            with time_limit(within):
                return action()
        except Fault as fault:
            self.add(fault.kind, name, str(fault))
        except Hung:
            self.add("hung", name, f"after {within:g} s")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            words = str(error)
            # The operating system's own errors say what is wrong with which file.
            of_system = isinstance(error, OSError) and error.errno is not None and error.filename is not None
            of_package = isinstance(error, ValueError | TypeError | OSError | ImportError) and "Received: " in words
            if not (of_system or of_package):
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{where.filename.rpartition('site-packages/')[2]}:{where.lineno}"
                self.add("inside", name, f"{type(error).__name__} at {place}: {words[:300]}")
            elif names is not None and names not in words:
                self.add("unnamed", name, words[:300])
            else:
                self.refused += 1
        return None

    def add(self, kind: Kind, name: str, words: str) -> None:
        """Note a fault."""
        self.faults.append((kind, name, words))


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Hung` after so many seconds of processor time, so that other load on the machine does not count.

    After twenty times as long on the clock too. It is raised as soon as Python's own code runs again: a job has a limit
    of its own.
    """

    def ring(*_: object) -> None:
        raise Hung

    clocks = (signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 20)
    before = [signal.signal(number, ring) for number, _, _ in clocks]
    for _, timer, factor in clocks:
        signal.setitimer(timer, factor * seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(clocks, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
