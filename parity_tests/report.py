"""Runs levels L0 to L3 with their controls and writes docs/parity.md: `make parity`.

L4's table is that of the committed `docs/parity/l4.json`: see `seeds.py`.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np

from parity_tests import tolerances
from parity_tests.bands import REGIMES, STOCK, VARIANTS, Band, band_runs
from parity_tests.measured import Measurement, read
from parity_tests.runs import prepare, traces
from parity_tests.seeds import RESULT, hardware

mpl.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "runs" / "parity"
DOCS = ROOT / "docs"
REGIME_TITLES = {"calm": "eta_max 0.001", "example": "eta_max 0.01, the example's"}


def run_tests() -> float:
    """Run L0 to L3 afresh. Returns the seconds that took; ends the program where a test fails."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", "slow or not slow"]
    levels = sorted(Path(__file__).parent.glob("test_l[0-3]_*.py"))
    ended = subprocess.run(
        [*command, *map(str, levels), f"--junitxml={OUTPUT / 'junit.xml'}"],
        cwd=ROOT,
        env=dict(os.environ, PARITY_OUTPUT=str(OUTPUT)),
        check=False,
    )
    if ended.returncode != 0:
        sys.exit(ended.returncode)
    return time.perf_counter() - began


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


def l0_table() -> str:
    """L0 asserts equality, so its table counts what was compared."""
    counts: dict[str, int] = {}
    for case in ElementTree.parse(OUTPUT / "junit.xml").iter("testcase"):
        if "test_l0" in case.get("classname", ""):
            name = case.get("name", "").partition("[")[0].removeprefix("test_").replace("_", " ")
            counts[name] = counts.get(name, 0) + 1
    return table(("what", "comparisons, all passed"), counts.items())


def bands() -> dict[str, Band]:
    """The long regimes of L3, from the traces that the tests left."""
    inputs = prepare(OUTPUT, None, None)
    found = {}
    for name in REGIME_TITLES:
        keras, torch = band_runs(name, inputs)
        found[name] = Band(REGIMES[name], traces("keras", keras, OUTPUT), traces("torch", torch, OUTPUT))
    return found


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


def figure(found: dict[str, Band], path: Path) -> None:
    """Loss curves above, their errors below; PyTorch's variants broad and grey, Keras narrow, black and dashed."""
    fig, axes = plt.subplots(2, len(found), figsize=(10, 6), sharex=True, layout="constrained")
    for column, (name, band) in zip(axes.T, found.items(), strict=True):
        exact = band.torch["float64"]["losses"]
        for i, variant in enumerate(VARIANTS):
            losses = band.torch[variant]["losses"]
            label = "PyTorch, float32: six variants" if i == 0 else None
            column[0].plot(losses, color="0.75", linewidth=5, label=label)
            column[1].semilogy(np.abs(losses - exact), color="0.75", linewidth=1.5, label=label)
        ours = band.keras["Keras"]["losses"]
        column[0].plot(ours, color="black", linewidth=1, linestyle="--", label="Keras, float32")
        column[1].semilogy(np.abs(ours - exact), color="black", linewidth=1, linestyle="--", label="Keras, float32")
        stock = np.abs(band.torch[STOCK]["losses"] - exact)
        column[1].semilogy(stock, color="0.35", linewidth=1, linestyle=":", label="control: momentum unreconciled")
        for restart in (1, 3):
            for ax in column:
                ax.axvline(restart * band.regime.run["steps"], color="0.9", zorder=0)
        column[0].set_title(REGIME_TITLES[name])
        column[1].set_xlabel("update (restarts: vertical lines)")
    axes[0, 0].set_ylabel("training loss")
    axes[1, 0].set_ylabel("|loss - float64 loss|")
    axes[0, 0].legend()
    axes[1, 1].legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def interval(result: dict[str, Any]) -> str:
    low, high = result["interval"]
    return f"{result['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"


def l4_section() -> str:
    """Tables and sentences of the committed result."""
    result = json.loads(RESULT.read_text())
    names = {
        "keras": "Keras, Keras's form",
        "pytorch": "PyTorch, Keras's form",
        "pytorch_own_form": "PyTorch, its own form",
        "keras_control": "control: Keras, BatchNorm momentum unconverted",
    }
    rows = []
    for key, arm in result["arms"].items():
        name, end = key.split("/")
        loss, accuracy = arm["loss"], arm["accuracy"]
        epoch = {"first": 2, "second": 6}[end]
        rows.append(
            (
                names[name],
                epoch,
                arm["n"],
                *(f"{loss[part]:.4f}" for part in ("mean", "sd", "olympic_mean")),
                f"{accuracy['mean']:.3f}",
                f"{accuracy['sd']:.3f}",
            )
        )
    equivalence = result["equivalence"]
    tests = [
        (names[arm], interval(equivalence[arm]), number(equivalence[arm]["p"]), verdict)
        for arm, verdict in (
            ("keras", "equivalent" if equivalence["keras"]["p"] < equivalence["alpha"] else "not shown equivalent"),
            (
                "keras_control",
                "equivalent" if equivalence["keras_control"]["p"] < equivalence["alpha"] else "not shown equivalent",
            ),
        )
    ]
    forms = result["forms"]
    clear = [key for key, form in forms.items() if form["interval"][0] > 0 or form["interval"][1] < 0]
    answer = (
        "Both intervals of the losses hold 0: no difference is shown at these cycle ends."
        if not [key for key in clear if key.endswith("loss")]
        else "The interval of the loss leaves out 0 after the "
        + " and the ".join(key.partition("/")[0] for key in clear if key.endswith("loss"))
        + " cycle."
    )
    return "\n".join(
        [
            table(
                ("run", "epoch", "n", "val. loss, mean", "SD", "olympic mean", "accuracy, mean", "SD"),
                rows,
            ),
            "Two one-sided t tests on the paired differences from PyTorch at the second cycle end. The margin was "
            f"stated before the run, {equivalence['margin_in_sd']} of PyTorch's SD over seeds, here "
            f"{equivalence['margin']:.4f}; intervals of 90 %:\n",
            table(("run", "difference of the loss", "p", "verdict"), tests),
            "### Does the momentum form change what SGDR reaches at its cycle ends?\n",
            "PyTorch's form minus Keras's form, both in PyTorch, the same seeds, intervals of 95 %:\n",
            table(
                ("cycle end", "validation loss", "validation accuracy"),
                (
                    (f"after {epochs} epochs", interval(forms[f"{end}/loss"]), interval(forms[f"{end}/accuracy"]))
                    for end, epochs in (("first", 2), ("second", 6))
                ),
            ),
            answer + "\n",
            f"{', '.join(f'{name} {version}' for name, version in result['versions'].items())}; "
            f"{result['hardware']['cpu']}, {result['hardware']['cores']} cores.\n",
        ]
    )


def incumbents() -> str:
    """The table of `python -m parity_tests.incumbents`."""
    return subprocess.run(
        [sys.executable, "-m", "parity_tests.incumbents"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def reasons() -> str:
    """The bounds' own words."""
    names = [name for name in tolerances.__all__ if name != "Bound"]
    rows = [(name, number(getattr(tolerances, name).limit), getattr(tolerances, name).reason) for name in names]
    return table(("bound", "", "reason"), rows)


def main() -> None:
    seconds = run_tests()
    lines = read(OUTPUT / "measured.jsonl")
    level = {name: [line for line in lines if line.level == name] for name in ("L1", "L2", "L3")}
    found = bands()
    figure(found, DOCS / "figures" / "parity.png")
    versions: dict[str, str] = {"python": platform.python_version()}
    for trace in (found["calm"].keras["Keras"], found["calm"].torch["plain"]):
        versions |= json.loads(str(trace["versions"]))
    machine = hardware()
    text = f"""# Parity of Keras and PyTorch

Written by `make parity`, which took {seconds / 60:.0f} minutes for L0 to L3, {(OUTPUT / "inputs.txt").read_text()}.
Every number is what the tests measured while they asserted it. Both frameworks read one array of images, one list of
order, crops and flips, one set of weights, each in a process of its own; Keras trains with `model.fit` and the `SGDR`
callback, PyTorch with `torch_reference`. Three differences are reconciled and named: the momentum form (`KerasSGD`,
`PyTorchSGD`), the running variance of BatchNorm (`BiasedBatchNorm2d`), and AdamW's epsilon. At every level controls,
each a known mistake, must be caught.

{", ".join(f"{name} {version}" for name, version in versions.items())}; {machine["cpu"]}, {machine["cores"]} cores.

## L0: learning rates

Equality at every update, float64 against float64 and after rounding to float32.

{l0_table()}
## L1: one update in float64

The second of two updates, for nine optimizer settings in both momentum forms, ResNet-50 among them. Controls are in
multiples of the bound.

{worst(level["L1"])}
{controls(level["L1"])}
## L2: trajectories in float64

The small net over 252 updates and five restarts, ResNet-50 over 15 and one, both resumed in mid-cycle.

{agreement(level["L2"])}
{controls(level["L2"])}
The last two rows are losses; the others are multiples of the bound.

## L3: float32 curves in the band of PyTorch's own

ResNet-50, 70 updates through two restarts (15 in the short regime, which `make test` runs). An
error is a distance from PyTorch's float64 run: the largest over all updates, and at the example's own rate, where chaos
makes every error as large as the loss, the geometric mean over them. Below, errors over the largest of six variants of
PyTorch.

{agreement(level["L3"])}
{controls(level["L3"])}
The errors themselves:

{band_table(found)}
![Loss curves of Keras and PyTorch, and their errors](figures/parity.png)

## L4: twelve seeds

{l4_section()}
## What other libraries ship as SGDR

{incumbents()}
## The bounds

{reasons()}"""
    (DOCS / "parity.md").write_text(text)


if __name__ == "__main__":
    main()
