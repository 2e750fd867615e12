"""The tables of docs/parity.md, in Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from parity_tests import tolerances
from parity_tests.bands import STOCK, VARIANTS, Band
from parity_tests.measured import Measurement
from parity_tests.seeds import CYCLE_ENDS, RESULT

__all__ = ["REGIME_TITLES", "agreement", "band_table", "controls", "counts", "reasons", "seeds_section", "worst"]

REGIME_TITLES = {"calm": "eta_max 0.001", "example": "eta_max 0.01, the example's"}


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def number(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}"


def margin(line: Measurement) -> str:
    """How far the measured value lies on the right side of its limit."""
    small, large = sorted((line.value, line.limit))
    if small == large == 0:
        return "equal"
    return "unlimited" if small == 0 or math.isinf(large) else f"{large / small:.2g} x"


def agreement(lines: Sequence[Measurement]) -> str:
    rows = [(line.what, number(line.limit), number(line.value), margin(line)) for line in lines if not line.control]
    return table(("what", "at most", "measured", "margin"), rows)


def controls(lines: Sequence[Measurement]) -> str:
    rows = [(line.what, number(line.limit), number(line.value), margin(line)) for line in lines if line.control]
    return table(("control", "must be above", "measured", "margin"), rows)


def worst(lines: Sequence[Measurement]) -> str:
    """L1's table: for each quantity the case that is nearest to its bound."""
    by_quantity: dict[str, list[Measurement]] = {}
    for line in lines:
        if not line.control:
            by_quantity.setdefault(line.what.rpartition(": ")[2], []).append(line)
    rows = []
    for quantity, found in by_quantity.items():
        line = max(found, key=lambda one: one.value)
        case = f"{line.what.rpartition(': ')[0]} (of {len(found)})" if line.value else f"all {len(found)}"
        rows.append((quantity, number(line.limit), number(line.value), margin(line), case))
    return table(("what", "at most", "measured, worst", "margin", "case"), rows)


def counts(junit: Path) -> str:
    """L0 asserts equality, so its table counts what was compared."""
    found: dict[str, int] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        if "test_l0" in case.get("classname", ""):
            name = case.get("name", "").partition("[")[0].removeprefix("test_").replace("_", " ")
            found[name] = found.get(name, 0) + 1
    return table(("what", "comparisons, all passed"), sorted(found.items()))


def band_table(found: dict[str, Band]) -> str:
    """Errors against the float64 run, each in its regime's measure."""
    columns = [(name, what) for name in found for what in ("losses", "val_losses")]
    header = ["run", *(f"{REGIME_TITLES[name]}: {what}" for name, what in columns)]
    rows = [
        [
            f"PyTorch, {variant}",
            *(number(found[name].error(found[name].torch[variant], what)) for name, what in columns),
        ]
        for variant in VARIANTS
    ]
    rows.append(["**Keras**", *(number(found[name].error(found[name].keras["Keras"], what)) for name, what in columns)])
    rows.append([STOCK, *(number(found[name].error(found[name].torch[STOCK], what)) for name, what in columns)])
    return table(header, rows)


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
    reached = []
    for key, arm in result["arms"].items():
        name, end = key.split("/")
        loss = (f"{arm['loss'][part]:.4f}" for part in ("mean", "sd", "olympic_mean"))
        accuracy = (f"{arm['accuracy'][part]:.3f}" for part in ("mean", "sd"))
        reached.append((names[name], CYCLE_ENDS[end], arm["n"], *loss, *accuracy))
    equivalence, forms = result["equivalence"], result["forms"]
    tests = [
        (names[arm], interval(found), number(found["p"]), "yes" if found["p"] < equivalence["alpha"] else "not shown")
        for arm, found in equivalence.items()
        if arm in names
    ]
    compared = [
        (f"after {epochs} epochs", *(interval(forms[f"{end}/{what}"]) for what in ("loss", "accuracy")))
        for end, epochs in CYCLE_ENDS.items()
    ]
    apart = [end for end in CYCLE_ENDS if np.prod(np.sign(forms[f"{end}/loss"]["interval"])) > 0]
    answer = f"yes, at the {' and the '.join(apart)} cycle end" if apart else "not that twelve seeds could show"
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"""{table(("run", "epochs", "n", "val. loss: mean", "SD", "olympic mean", "accuracy: mean", "SD"), reached)}
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
