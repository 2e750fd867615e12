"""The tables of docs/parity.md, in Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from parity_tests import tolerances
from parity_tests.measurements import Measurement
from parity_tests.report.markdown import table
from parity_tests.training.bands import REGIMES, STOCK, VARIANTS, Band
from parity_tests.training.seeds import CYCLE_ENDS, RESULT

__all__ = ["agreement", "band_table", "controls", "kinds", "kinds_of_controls", "reasons", "seeds_section", "worst"]


def number(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}"


def margin(line: Measurement) -> str:
    """How far the measured value lies on the right side of its limit."""
    small, large = sorted((line.value, line.limit))
    if small == large == 0:
        return "equal"
    return "unlimited" if small == 0 or math.isinf(large) else f"{large / small:.2g} x"


def agreement(lines: Sequence[Measurement]) -> str:
    rows = [(line.title, number(line.limit), number(line.value), margin(line)) for line in lines if not line.control]
    return table(("what", "at most", "measured", "margin"), rows)


def controls(lines: Sequence[Measurement]) -> str:
    rows = [(line.title, number(line.limit), number(line.value), margin(line)) for line in lines if line.control]
    return table(("control", "must be above", "measured", "margin"), rows)


def kinds(lines: Sequence[Measurement]) -> str:
    """L0's table: how many rates of how many cases were compared in each way, and the largest difference."""
    return table(("what", "cases", "rates", "at most", "measured"), _kinds(lines, max, control=False))


def kinds_of_controls(lines: Sequence[Measurement]) -> str:
    """The same of L0's controls, with the smallest difference."""
    return table(("control", "cases", "rates", "must be above", "measured"), _kinds(lines, min, control=True))


def _kinds(
    lines: Sequence[Measurement], extreme: Callable[[Iterable[float]], float], *, control: bool
) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for what, measured in sorted(_by_quantity(lines, control=control).items()):
        value, limit = extreme(line.value for line in measured), measured[0].limit
        compared = sum(line.compared for line in measured)
        rows.append((what, str(len(measured)), f"{compared:,}", number(limit), number(value)))
    return rows


def worst(lines: Sequence[Measurement]) -> str:
    """L1's table: for each quantity the case that is nearest to its bound."""
    rows = []
    for quantity, measured in _by_quantity(lines, control=False).items():
        line = max(measured, key=lambda line: line.value)
        case = f"{line.case} (of {len(measured)})" if line.value else f"all {len(measured)}"
        rows.append((quantity, number(line.limit), number(line.value), margin(line), case))
    return table(("what", "at most", "measured, worst", "margin", "case"), rows)


def _by_quantity(lines: Sequence[Measurement], *, control: bool) -> dict[str, list[Measurement]]:
    quantities: dict[str, list[Measurement]] = {}
    for line in lines:
        if line.control == control:
            quantities.setdefault(line.what, []).append(line)
    return quantities


def band_table(bands: dict[str, Band]) -> str:
    """Errors against the float64 run, each in its regime's measure."""
    columns = [(name, what) for name in bands for what in ("losses", "val_losses")]

    def row(name: str, side: str, run: str) -> list[str]:
        errors = (bands[regime].error(getattr(bands[regime], side)[run], what) for regime, what in columns)
        return [name, *map(number, errors)]

    rows = [row(f"PyTorch, {variant}", "torch", variant) for variant in VARIANTS]
    rows += [row("**Keras**", "keras", "Keras"), row(STOCK, "torch", STOCK)]
    return table(["run", *(f"{REGIMES[name].title}: {what}" for name, what in columns)], rows)


def interval(result: dict[str, Any]) -> str:
    low, high = result["interval"]
    return f"{result['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"


def seeds_section() -> str:
    """L4's tables, of the committed result."""
    result = json.loads(RESULT.read_text())
    names = {
        "keras": "Keras, Keras's form",
        "pytorch": "PyTorch, Keras's form",
        "pytorch_own_form": "PyTorch, its own form",
        "keras_control": "control: Keras, BatchNorm momentum unconverted",
    }
    ends = []
    for key, arm in result["arms"].items():
        name, end = key.split("/")
        loss = (f"{arm['loss'][part]:.4f}" for part in ("mean", "sd", "olympic_mean"))
        accuracy = (f"{arm['accuracy'][part]:.3f}" for part in ("mean", "sd"))
        ends.append((names[name], CYCLE_ENDS[end], arm["n"], *loss, *accuracy))
    equivalence, forms = result["equivalence"], result["forms"]
    tests = [
        (names[arm], interval(test), number(test["p"]), "yes" if test["p"] < equivalence["alpha"] else "not shown")
        for arm, test in equivalence.items()
        if arm in names
    ]
    compared = [
        (f"after {epochs} epochs", *(interval(forms[f"{end}/{what}"]) for what in ("loss", "accuracy")))
        for end, epochs in CYCLE_ENDS.items()
    ]
    apart = [end for end in CYCLE_ENDS if np.prod(np.sign(forms[f"{end}/loss"]["interval"])) > 0]
    answer = f"yes, at the {' and the '.join(apart)} cycle end" if apart else "not that twelve seeds could show"
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"""{table(("run", "epochs", "n", "val. loss: mean", "SD", "olympic mean", "accuracy: mean", "SD"), ends)}
Two one-sided t tests on the paired differences from PyTorch at the second cycle end. The margin, stated before the run,
is {equivalence["margin_in_sd"]} of PyTorch's SD over seeds: {equivalence["margin"]:.4f}. Intervals of 90 %.

{table(("run", "difference of the loss", "p", "equivalent"), tests)}
### Does the momentum form change what SGDR reaches at its cycle ends?

PyTorch's form minus Keras's form, both in PyTorch, the same seeds, intervals of 95 %. By the loss: {answer}.

{table(("cycle end", "validation loss", "validation accuracy"), compared)}
{versions}; {result["hardware"]["cpu"]}, {result["hardware"]["cores"]} cores.
"""


def reasons() -> str:
    """The bounds' own words."""
    names = [name for name in tolerances.__all__ if name != "Bound"]
    rows = [(name, number(getattr(tolerances, name).limit), getattr(tolerances, name).reason) for name in names]
    return table(("bound", "", "reason"), rows)
