"""Each library's restarts and rates against the exact ones."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity_tests.incumbents.adapters import INCUMBENTS, Incumbent, needs, positions
from parity_tests.processes import by_group, compute, read
from parity_tests.rates.cases import RATE_CASES, RateCase
from parity_tests.rates.exact import cycles, exact_rates
from parity_tests.report.markdown import table

__all__ = ["Result", "compare", "installed", "markdown"]

Array = NDArray[Any]

# A restart is right if the rates of the update before it, of its own and of the one after it are within this part of
# the new cycle's eta_max. One that comes an update early or late misses by nearly all of it, rounding by under 1e-3.
RIGHT = 0.01


@dataclass
class Result:
    """What a library made of the cases.

    Attributes:
        name: The library and its function.
        versions: Of the packages; None where one is not installed, and nothing else is known.
        cases: How many it can express.
        cannot: How many of the others call for what it lacks.
        restarts: How many were looked at.
        wrong: Case and update of those that are not right.
        error: Largest error of a rate, as a part of the case's eta_max, of those that are numbers.
        error_elsewhere: The same without the wrong restarts and their neighbours.
        no_number: Updates with a rate that is no number.
    """

    name: str
    versions: str | None
    cases: int = 0
    cannot: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    wrong: list[tuple[str, int]] = field(default_factory=list)
    error: float = 0.0
    error_elsewhere: float = 0.0
    no_number: int = 0


def compare(cases: Sequence[RateCase] = RATE_CASES) -> Iterator[Result]:
    """A result per library; those of one framework are run in one process."""
    computed: dict[str, dict[str, Array]] = {}
    for incumbent in INCUMBENTS:
        if not installed(incumbent):
            yield Result(incumbent.name, None)
            continue
        if incumbent.name not in computed:
            together = [other for other in INCUMBENTS if other.framework == incumbent.framework and installed(other)]
            computed |= rates_of(together, cases)
        versions = [f"{package} {importlib.metadata.version(package)}" for package in incumbent.packages]
        result = Result(incumbent.name, ", ".join(versions))
        lacking = [needs(case) - incumbent.expresses for case in cases]
        result.cannot = dict(Counter(need for needed in lacking for need in sorted(needed)))
        rates = computed.pop(incumbent.name)
        for case, lacks in zip(cases, lacking, strict=True):
            if not lacks:
                add(result, case, incumbent.reach, rates[case.name])
        yield result


def installed(incumbent: Incumbent) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in incumbent.packages)


def rates_of(incumbents: Sequence[Incumbent], cases: Sequence[RateCase]) -> dict[str, dict[str, Array]]:
    """By the library's name and the case's, from a process of their own."""
    config = {"incumbents": [each.name for each in incumbents], "cases": {case.name: case.epochs for case in cases}}
    with tempfile.TemporaryDirectory() as folder:
        return by_group(read(compute("parity_tests.incumbents.adapters", Path(folder), config)))


def add(result: Result, case: RateCase, reach: str, rates: Array) -> None:
    """Compare one case's rates at `positions(case, reach)` and add the differences to a result."""
    at, firsts = positions(case, reach)
    error = np.abs(rates.astype(np.float64) - exact_rates(case, at.tolist())) / case.eta_max
    run = itertools.takewhile(lambda cycle: cycle[1] <= int(at[-1]), cycles(case))
    peak = {math.ceil(begin): case.eta_max_decay**i for i, begin, _ in run}
    around = np.searchsorted(at, firsts)[:, None] + np.array([-1, 0, 1])
    right = np.all(error[around] <= RIGHT * np.array([peak[first] for first in firsts])[:, None], axis=1)
    number = np.isfinite(error)
    result.cases += 1
    result.restarts += len(firsts)
    result.wrong += [(case.name, first) for first, fine in zip(firsts, right, strict=True) if not fine]
    result.no_number += int(np.sum(~number))
    result.error = max(result.error, float(error[number].max(initial=0)))
    number[around[~right]] = False
    result.error_elsewhere = max(result.error_elsewhere, float(error[number].max(initial=0)))


def markdown(results: Sequence[Result]) -> str:
    """The results as a table."""
    header = ["library", "versions", "cases", "restarts", "wrong", "first wrong"]
    header += ["largest error", "elsewhere", "cannot express"]
    return table(header, map(_row, results))


def _row(result: Result) -> list[Any]:
    if result.versions is None:
        return [result.name, "not installed", *[""] * 7]
    first = ", ".join(f"{update} ({case})" for case, update in result.wrong[:3])
    error, elsewhere = (f"{error:.1e}" if error else "0" for error in (result.error, result.error_elsewhere))
    if result.no_number:
        elsewhere += f", {result.no_number} updates without a number"
    cannot = ", ".join(f"{need} ({count})" for need, count in result.cannot.items())
    counts = [result.cases, result.restarts, len(result.wrong), first]
    return [result.name, result.versions, *counts, error, elsewhere, cannot]
