"""Each library's restarts and rates against the exact ones."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity_tests.cases import RATE_CASES, RateCase
from parity_tests.incumbents.adapters import INCUMBENTS, Incumbent, needs, positions
from parity_tests.rates import cycles, exact_rates
from parity_tests.runs import read_traces, start

__all__ = ["Result", "compare", "installed", "markdown"]

Array = NDArray[Any]

# A restart is right if the rates of the update before it, of its own and of the one after it are within this part of
# the new cycle's eta_max. One that comes an update early or late misses by nearly all of it, rounding by under 1e-3.
RIGHT = 0.01


@dataclass
class Result:
    """What a library made of the cases.

    Attributes:
        name: the library and its function.
        versions: of the packages; None where one is not installed, and nothing else is known.
        cases: how many it can express.
        cannot: how many of the others call for what it lacks.
        restarts: how many were looked at.
        wrong: case and update of those that are not right.
        error: largest error of a rate, as a part of the case's eta_max, of those that are numbers.
        error_elsewhere: the same without the wrong restarts and their neighbours.
        no_number: updates with a rate that is no number.
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
    """A result a library; those of one framework are run in one process."""
    found: dict[str, dict[str, Array]] = {}
    for incumbent in INCUMBENTS:
        if not installed(incumbent):
            yield Result(incumbent.name, None)
            continue
        if incumbent.name not in found:
            together = [other for other in INCUMBENTS if other.framework == incumbent.framework and installed(other)]
            found |= rates_of(together, cases)
        versions = [f"{package} {importlib.metadata.version(package)}" for package in incumbent.packages]
        result = Result(incumbent.name, ", ".join(versions))
        lacking = [needs(case) - incumbent.expresses for case in cases]
        result.cannot = dict(Counter(need for needed in lacking for need in sorted(needed)))
        rates = found.pop(incumbent.name)
        for case, lacks in zip(cases, lacking, strict=True):
            if not lacks:
                add(result, case, incumbent.reach, rates[case.name])
        yield result


def installed(incumbent: Incumbent) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in incumbent.packages)


def rates_of(incumbents: Sequence[Incumbent], cases: Sequence[RateCase]) -> dict[str, dict[str, Array]]:
    """By the library's name and the case's, from a process of their own."""
    names = [incumbent.name for incumbent in incumbents]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates.npz"
        chosen = json.dumps([names, [case.name for case in cases]])
        start("parity_tests.incumbents.adapters", chosen, path)
        return read_traces(path, names)


def add(result: Result, case: RateCase, reach: str, rates: Array) -> None:
    """Compare one case's rates at `positions(case, reach)` and add what is found to a result."""
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
    lines = [
        "| library | versions | cases | restarts | wrong | first wrong | largest error | elsewhere | cannot express |",
        "|---|---|---:|---:|---:|---|---:|---:|---|",
    ]
    for result in results:
        if result.versions is None:
            lines.append(f"| {result.name} | not installed | | | | | | | |")
            continue
        first = ", ".join(f"{update} ({case})" for case, update in result.wrong[:3])
        errors = " | ".join(f"{error:.1e}" if error else "0" for error in (result.error, result.error_elsewhere))
        if result.no_number:
            errors += f", {result.no_number} updates without a number"
        cannot = ", ".join(f"{need} ({count})" for need, count in result.cannot.items())
        counts = f"{result.cases} | {result.restarts} | {len(result.wrong)} | {first}"
        lines.append(f"| {result.name} | {result.versions} | {counts} | {errors} | {cannot} |")
    return "\n".join(lines)
