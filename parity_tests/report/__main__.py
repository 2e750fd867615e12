"""Runs levels L0 to L3 with their controls and writes docs/parity.md: `make parity`.

L4's table is that of the committed `docs/parity/l4.json`: see `training/seeds.py`.
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

from parity_tests.incumbents.comparison import compare, markdown
from parity_tests.measurements import read
from parity_tests.report import tables
from parity_tests.report.figure import figure
from parity_tests.training.bands import REGIMES, Band, band_runs
from parity_tests.training.run import prepare, traces_of_both
from parity_tests.training.seeds import hardware
from tests.support.inputs import describe_inputs, find_ants_bees, find_weights

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "runs" / "parity"
DOCS = ROOT / "docs"


def run_tests() -> float:
    """Run L0 to L3 afresh. Returns the seconds that took; ends the program where a test fails."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", "slow or not slow"]
    # The highest level first, which takes the longest.
    levels = sorted((ROOT / "parity_tests").glob("test_l[0-3]_*.py"), reverse=True)
    environment = dict(os.environ, PARITY_OUTPUT=str(OUTPUT))
    ended = subprocess.run([*command, *map(str, levels)], cwd=ROOT, env=environment, check=False)
    if ended.returncode != 0:
        sys.exit(ended.returncode)
    return time.perf_counter() - began


def bands() -> dict[str, Band]:
    """The regimes of L3 that are reported, from the traces that the tests left."""
    inputs = prepare(OUTPUT, find_ants_bees(), find_weights())
    return {
        name: Band(regime, *traces_of_both(*band_runs(name, inputs), OUTPUT))
        for name, regime in REGIMES.items()
        if regime.title
    }


def main() -> None:
    seconds = run_tests()
    lines = read(OUTPUT / "measured.jsonl")
    l0, l1, l2 = ([line for line in lines if line.level == level] for level in ("L0", "L1", "L2"))
    reported = bands()
    l3 = [line for line in lines if line.level == "L3" and line.case in reported]
    figure(reported, DOCS / "figures" / "parity.png")
    versions: dict[str, str] = {"python": platform.python_version()}
    for trace in (reported["calm"].keras["Keras"], reported["calm"].torch["plain"]):
        versions |= json.loads(str(trace["versions"]))
    machine = hardware()
    text = f"""# Parity of Keras and PyTorch

Written by `make parity`, which took {seconds / 60:.0f} minutes for L0 to L3, {describe_inputs()}.
Every number is what the tests measured while they asserted it. Both frameworks read one array of images, one list of
order, crops and flips, one set of weights, each in a process of its own; Keras trains with `model.fit` and the `SGDR`
callback, PyTorch with `torch_reference`. Three differences are reconciled and named: the momentum form (`KerasSGD`,
`PyTorchSGD`), the running variance of BatchNorm (`BiasedBatchNorm2d`), and AdamW's epsilon. At every level controls,
each a known mistake, must be caught.

{", ".join(f"{name} {version}" for name, version in versions.items())}; {machine["cpu"]}, {machine["cores"]} cores.

## L0: learning rates

At every update, with one loop over integers as a third witness. Equal in float64, and after rounding to float32; two
ways of computing are within a bound instead: JAX evaluates `SGDRSchedule` in float32, and PyTorch's own scheduler
rounds in another order. Of the controls, the smallest difference.

{tables.kinds(l0)}
{tables.kinds_of_controls(l0)}
## L1: one update in float64

The second of two updates, for nine optimizer settings of a small net in both momentum forms, and for ResNet-50 (the
first two updates of its trajectory below). Controls are in multiples of the bound.

{tables.worst(l1)}
{tables.controls(l1)}
## L2: trajectories in float64

The small net over 224 updates and five restarts, ResNet-50 over 12 and one, both resumed in mid-cycle from a file: the
small net as a new model, ResNet-50 as new weights and optimizer state.

{tables.agreement(l2)}
{tables.controls(l2)}
The rows of stock SGD are losses; the others are multiples of the bound.

## L3: float32 curves in the band of PyTorch's own

ResNet-50, 60 updates through two restarts. An error is a distance from PyTorch's float64 run: the largest over all
updates, and at the example's own rate, where chaos makes every error as large as the loss, the geometric mean over
them. Below, errors over the largest of six variants of PyTorch.

{tables.agreement(l3)}
{tables.controls(l3)}
The errors themselves:

{tables.band_table(reported)}
![Loss curves of Keras and PyTorch, and their errors](figures/parity.png)

## L4: twelve seeds

{tables.seeds_section()}
## What other libraries ship as SGDR

{markdown(list(compare()))}
## The bounds

{tables.reasons()}"""
    (DOCS / "parity.md").write_text(text)


if __name__ == "__main__":
    main()
