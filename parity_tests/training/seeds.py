"""Level L4, many paired seeds to the end of a cycle: `python -m parity_tests.training.seeds FOLDER IMAGES WEIGHTS`.

Writes `docs/parity/l4.json`. FOLDER keeps the traces of every seed that is done, so an interrupted run goes on where it
was. IMAGES is the folder of ants and bees, WEIGHTS a file of ResNet-50's.

A seed decides the last layer, the order, the crops and the flips. Each is trained in float32: in Keras and in PyTorch
with Keras's form of momentum, which should reach the same; in PyTorch with its own form, which is another algorithm;
and, as a control, in Keras with BatchNorm's momentum unconverted. (A delay of one update or two swapped images change
no more than another seed does: they are caught at the levels below.)
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from parity_tests.training.run import Run, Side, n_threads, prepare, traces

__all__ = ["ALPHA", "CYCLE_ENDS", "MARGIN", "RESULT", "SEEDS", "conclude", "reached"]

RESULT = Path(__file__).resolve().parents[2] / "docs" / "parity" / "l4.json"
SEEDS = 12
CYCLE_ENDS = {"first": 2, "second": 6}  # epochs, with T_0=2 and T_mult=2

# Stated before the first run. Two one-sided tests on 12 pairs have a power of 80 % at
# (t(.95, 11) + t(.9, 11)) sqrt(2 / 12) = 1.29 SD even if pairing gains nothing, which is to be feared: one rounding
# ends as far off as another seed does.
MARGIN = 1.3  # of PyTorch's SD over seeds
ALPHA = 0.05

ARMS: dict[str, tuple[Side, dict[str, Any]]] = {
    "keras": ("keras", {}),
    "pytorch": ("torch", {}),
    "pytorch_own_form": ("torch", {"momentum_form": "pytorch"}),
    "keras_control": ("keras", {"control": "BatchNorm momentum unconverted"}),
}

Array = NDArray[np.float64]

# The example's own settings, at 64 pixels: 16 updates an epoch, all 153 validation images.
SETTINGS: dict[str, Any] = {
    "net": "resnet50",
    "precision": "float32",
    "eta_max": 0.01,
    "T_0": 2,
    "T_mult": 2,
    "epochs": 6,
    "steps": None,
    "batch_size": 16,
    "validation": 153,
}


def reached(folder: Path, inputs: str, seeds: int = SEEDS) -> dict[str, Any]:
    """Validation losses and accuracies of every arm at every cycle end, a value per seed, and the versions."""
    values: dict[str, Any] = {"versions": {}}
    for seed in range(seeds):
        for arm, (side, changes) in ARMS.items():
            run = Run(inputs=inputs, **SETTINGS, **changes, seed=seed)
            trace = traces(side, {arm: run}, folder)[arm]
            values["versions"] |= json.loads(str(trace["versions"]))
            for end, epoch in CYCLE_ENDS.items():
                for name, quantity in (("loss", "val_losses"), ("accuracy", "val_accuracies")):
                    values.setdefault(f"{arm}/{end}/{name}", []).append(float(trace[quantity][epoch - 1]))
            print(f"{arm}, seed {seed}: {values[f'{arm}/second/loss'][-1]:.4f}", flush=True)
    return values


def conclude(values: dict[str, Any]) -> dict[str, Any]:
    """The statistics of what `reached` returns."""
    arms: dict[str, Any] = {
        f"{arm}/{end}": {
            "n": len(values[f"{arm}/{end}/loss"]),
            **{
                name: {
                    "mean": float(np.mean(values[f"{arm}/{end}/{name}"])),
                    "sd": float(np.std(values[f"{arm}/{end}/{name}"], ddof=1)),
                    "olympic_mean": olympic_mean(np.array(values[f"{arm}/{end}/{name}"])),
                }
                for name in ("loss", "accuracy")
            },
        }
        for arm in ARMS
        for end in CYCLE_ENDS
    }
    margin = MARGIN * arms["pytorch/second"]["loss"]["sd"]
    equivalence = {}
    for arm in ("keras", "keras_control"):
        difference = np.subtract(values[f"{arm}/second/loss"], values["pytorch/second/loss"])
        equivalence[arm] = {**paired(difference, 1 - 2 * ALPHA), "p": tost(difference, margin)}
    forms = {
        f"{end}/{name}": paired(
            np.subtract(values[f"pytorch_own_form/{end}/{name}"], values[f"pytorch/{end}/{name}"]), 0.95
        )
        for end in CYCLE_ENDS
        for name in ("loss", "accuracy")
    }
    return {
        "arms": arms,
        "equivalence": {"margin_in_sd": MARGIN, "margin": margin, "alpha": ALPHA, **equivalence},
        "forms": forms,
    }


def tost(difference: Array, margin: float) -> float:
    """The larger p of the two one-sided t tests that the mean difference lies inside of the margin."""
    above = stats.ttest_1samp(difference, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(difference, margin, alternative="less").pvalue
    return float(max(above, below))


def paired(difference: Array, confidence: float) -> dict[str, Any]:
    """Mean, SD and interval of paired differences."""
    result = stats.ttest_1samp(difference, 0)
    interval = result.confidence_interval(confidence)
    return {
        "n": len(difference),
        "mean": float(np.mean(difference)),
        "sd": float(np.std(difference, ddof=1)),
        "confidence": confidence,
        "interval": [float(interval.low), float(interval.high)],
    }


def olympic_mean(values: Array) -> float:
    """MLPerf's: without the smallest and the largest."""
    return float(np.mean(np.sort(values)[1:-1]))


def hardware() -> dict[str, Any]:
    """What a run was made on."""
    cpus = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "cpu": cpus[0] if cpus else platform.processor(),
        "cores": os.cpu_count(),
        "threads": n_threads(),
    }


def main(folder: Path, images: Path, weights: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    values = reached(folder, prepare(folder, images, weights))
    versions = values.pop("versions")
    result = {"values": values, **conclude(values), "versions": versions, "hardware": hardware()}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
