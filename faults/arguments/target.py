"""Something public that takes arguments, and random sets of these for it."""

from __future__ import annotations

import datetime
import inspect
import math
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from faults.trials import Trials

__all__ = ["FLAGS", "NASTY", "Target", "Used", "drawn", "try_targets", "written"]


def nothing(*values: object) -> None:
    """What is called and gives nothing."""


# Values for whatever takes a number, a name, a path, a choice or a list of such. Not for an object of Keras, NumPy or
# matplotlib, which is known by what it can do, and for which a target has odd ones of its kind. None has a `__repr__`
# that raises: whoever passes such a thing has no message of anyone's.
NASTY: tuple[Any, ...] = (
    *(0, -1, 1, 3, 2**31, 2**53, 2**63, 10**30, -(10**400), 10**5000),
    *(0.0, -0.0, 0.5, -0.5, 1e308, -1e308, 1e-320, 5e-324, 1e39, 1e-46, 1e15, 1 - 1e-12, 1 + 1e-12),
    *(math.nan, math.inf, -math.inf, True, False, None),
    *("", "10", "abc", "nan", "inf", "1/0", "1e400", "1e999999999", "9" * 5000, " ", "\0", "ä" * 300, b"", b"10"),
    *([], {}, (), set(), [0.1], [math.nan], [0.1, 0.2], [[0.1]], ["a"], (1, 2), (0.1, -1), {"a": 1}, range(3)),
    *(np.int64(5), np.int8(3), np.uint64(2**64 - 1), np.float32(0.5), np.float64(2), np.bool_(True), np.nan),
    *(np.array(2.0), np.array([1.0, 2.0]), np.array([]), np.array([[1]]), np.array("a"), np.datetime64("2020")),
    *(Fraction(1, 3), Fraction(10**400, 3), Fraction(1, 10**400), Decimal("0.5"), Decimal("NaN"), 1j),
    *(lambda: 0.1, nothing, object(), int, math, datetime.date(2020, 1, 1), iter(()), Ellipsis),
)
# For what is only asked whether it is true.
FLAGS: tuple[Any, ...] = (True, False, 0, 1, None, "yes", 2, [])
SENSIBLE_SHARE = 0.35


class Used(NamedTuple):
    """What was made, and of what.

    Attributes:
        made: What was made.
        given: The arguments by name.
    """

    made: Any
    given: Mapping[str, Any]


class Target(NamedTuple):
    """Something public that takes arguments.

    Attributes:
        name: By which it is reported.
        make: The class or function.
        sensible: Values of each parameter, by name; all of the signature must be here.
        times: How many sets of arguments are tried.
        use: What is done with what was made; raises `Fault` where it is wrong.
        odd: Values in place of `NASTY`, by name.
        of: The public object that it stands for, where `make` is another.
    """

    name: str
    make: Callable[..., Any]
    sensible: Mapping[str, Sequence[Any]]
    times: int
    use: Callable[[Used], object] = lambda used: None
    odd: Mapping[str, Sequence[Any]] = {}
    of: Any = None


class Counts(NamedTuple):
    """How many sets of arguments there were, and how many were accepted, of all and of the wholly sensible ones."""

    accepted: int = 0
    sensible: int = 0
    sensible_accepted: int = 0

    def __str__(self) -> str:
        return f"{self.accepted} accepted; {self.sensible_accepted} of the {self.sensible} wholly sensible ones"


def try_targets(row: Trials, targets: Sequence[Target], numbers: random.Random, share: float) -> None:
    """Try sets of arguments of each target, and note how many were accepted.

    Args:
        row: Where to count.
        targets: What to try.
        numbers: Random numbers.
        share: Of the times that each target asks for.
    """
    counts = Counts()
    for target in targets:
        for _ in range(math.ceil(target.times * share)):
            given, sensible = drawn(target, numbers)
            accepted = row.attempt(written(target.name, given), lambda: _used(target, given)) is True  # noqa: B023
            more = accepted, sensible, accepted and sensible
            counts = Counts(*(old + new for old, new in zip(counts, more, strict=True)))
    row.note = str(counts)


def _used(target: Target, given: dict[str, Any]) -> bool:
    target.use(Used(target.make(**given), given))
    return True


def drawn(target: Target, numbers: random.Random) -> tuple[dict[str, Any], bool]:
    """A set of arguments, and whether all of it is sensible."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target.make).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    if parameters.keys() != target.sensible.keys():
        raise RuntimeError(f"{target.name} takes {', '.join(parameters)}, and there are values of other arguments.")
    given = {
        name: numbers.choice(target.sensible[name])
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty or numbers.random() < 0.5
    }
    if numbers.random() < SENSIBLE_SHARE:
        return given, True
    for name in numbers.sample(list(parameters), min(len(parameters), numbers.choice((1, 1, 2)))):
        given[name] = numbers.choice(target.odd.get(name, NASTY))
    return given, False


def written(name: str, given: Mapping[str, Any]) -> str:
    """The call, as a fault is reported."""
    return f"{name}({', '.join(f'{argument}={_short(value)}' for argument, value in given.items())})"


def _short(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Of integers of too many digits.
        return (
            f"an integer of {value.bit_length()} bits" if isinstance(value, int) else f"a long {type(value).__name__}"
        )
    return text if len(text) < 60 else f"{text[:57]}..."
