"""Runs levels L0 to L3 with their controls and writes docs/parity.md: `make parity`.

L4's table is that of the committed `docs/parity/l4.json`: see `seeds.py`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

from parity_tests.bands import REGIMES, Band, band_runs
from parity_tests.figure import figure
from parity_tests.measured import read
from parity_tests.runs import prepare, traces
from parity_tests.seeds import hardware
from parity_tests.tables import REGIME_TITLES, agreement, band_table, controls, counts, reasons, seeds_section, worst

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "runs" / "parity"
DOCS = ROOT / "docs"


def run_tests() -> float:
    """Run L0 to L3 afresh. Returns the seconds that took; ends the program where a test fails."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", "slow or not slow"]
    levels = sorted(Path(__file__).parent.glob("test_l[0-3]_*.py"))
    # The long regimes say all that the short one says.
    short = [
        f"--deselect={levels[3].relative_to(ROOT)}::{test}[short"
        for test in ("test_band", "test_rates", "test_control")
    ]
    ended = subprocess.run(
        [*command, *map(str, levels), *short, f"--junitxml={OUTPUT / 'junit.xml'}"],
        cwd=ROOT,
        env=dict(os.environ, PARITY_OUTPUT=str(OUTPUT)),
        check=False,
    )
    if ended.returncode != 0:
        sys.exit(ended.returncode)
    return time.perf_counter() - began


def bands() -> dict[str, Band]:
    """The long regimes of L3, from the traces that the tests left."""
    inputs = prepare(OUTPUT, None, None)
    found = {}
    for name in REGIME_TITLES:
        keras, torch = band_runs(name, inputs)
        found[name] = Band(REGIMES[name], traces("keras", keras, OUTPUT), traces("torch", torch, OUTPUT))
    return found


def incumbents() -> str:
    """The table of `python -m parity_tests.incumbents`."""
    return subprocess.run(
        [sys.executable, "-m", "parity_tests.incumbents"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


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

{counts(OUTPUT / "junit.xml")}
## L1: one update in float64

The second of two updates, for ten optimizer settings in both momentum forms, ResNet-50 among them. Controls are in
multiples of the bound.

{worst(level["L1"])}
{controls(level["L1"])}
## L2: trajectories in float64

The small net over 224 updates and five restarts, ResNet-50 over 12 and one, both resumed in mid-cycle.

{agreement(level["L2"])}
{controls(level["L2"])}
The rows of stock SGD are losses; the others are multiples of the bound.

## L3: float32 curves in the band of PyTorch's own

ResNet-50, 60 updates through two restarts. An
error is a distance from PyTorch's float64 run: the largest over all updates, and at the example's own rate, where chaos
makes every error as large as the loss, the geometric mean over them. Below, errors over the largest of six variants of
PyTorch.

{agreement(level["L3"])}
{controls(level["L3"])}
The errors themselves:

{band_table(found)}
![Loss curves of Keras and PyTorch, and their errors](figures/parity.png)

## L4: twelve seeds

{seeds_section()}
## What other libraries ship as SGDR

{incumbents()}
## The bounds

{reasons()}"""
    (DOCS / "parity.md").write_text(text)


if __name__ == "__main__":
    main()
