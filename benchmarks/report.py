"""Ratios of interleaved times, and docs/benchmarks.md made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_sgdr.environment import environment

__all__ = ["ratios", "write"]

DOCS = Path(__file__).resolve().parents[1] / "docs"

INTRODUCTION = """# What a step costs

Made by `make bench`; the numbers are in [benchmarks.json](benchmarks.json). `KERAS_BACKEND=jax make bench`
adds that backend.

A small dense network (32-64-64-10, batch 32, SGD with momentum), whose step is mostly overhead: what the learning rate
costs shows here or nowhere. Every row is a `fit` of its own, all in one process, taking turns by the epoch in rotated
order. A ratio is that of two epochs of one round; given are its median over the rounds and, in brackets, its quartiles.
"Constant rate again" is the same as the first row: it shows what the measurement resolves.

Bounds: SGDR at most 1.03 times a constant rate, and 1.10 times with 50 batches an execution. Per-batch assignment with
50 batches an execution is cheap because it is wrong: it sets one rate for all 50.
"""


def ratios(seconds: Mapping[str, Sequence[float]], baseline: str, steps: int) -> dict[str, dict[str, float]]:
    """Quartiles of each runner's ratio to the baseline, round by round.

    Args:
        seconds: By name, the seconds of each round's epoch.
        baseline: Name of the runner to compare with.
        steps: Batches in an epoch.

    Returns:
        By name: `microseconds` a step, the median, and of the ratio `lower`, `median` and `upper` quartile.
    """
    rows = {}
    for name, own in seconds.items():
        lower, median, upper = np.quantile(np.divide(own, seconds[baseline]), [0.25, 0.5, 0.75])
        rows[name] = {
            "microseconds": round(1e6 * float(np.median(own)) / steps, 1),
            "lower": round(float(lower), 4),
            "median": round(float(median), 4),
            "upper": round(float(upper), 4),
            "rounds": len(own),
        }
    return rows


def write(results: Mapping[int, Mapping[str, Mapping[str, float]]], steps: Mapping[int, int]) -> None:
    """Write `docs/benchmarks.json`, in which other backends' numbers stay, and `docs/benchmarks.md` from it.

    Args:
        results: By batches an execution, what `ratios` returned.
        steps: By batches an execution, batches in an epoch.
    """
    path = DOCS / "benchmarks.json"
    measured = json.loads(path.read_text()) if path.is_file() else {}
    found = environment()
    measured[found["backend"]] = {
        **found,
        "step_cost": [
            {"steps_per_execution": batches, "steps_per_epoch": steps[batches], "rows": rows}
            for batches, rows in results.items()
        ],
    }
    path.write_text(json.dumps(measured, indent=2) + "\n")
    (DOCS / "benchmarks.md").write_text(INTRODUCTION + "".join(map(_section, measured.values())))


def _section(measured: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    hardware = measured["hardware"]
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    lines = [f"\n## {measured['backend']}", "", f"{versions}; {hardware['cpu']}, {hardware['cores']} cores, {gpus}."]
    for case in measured["step_cost"]:
        execution, epoch = case["steps_per_execution"], case["steps_per_epoch"]
        rounds = next(iter(case["rows"].values()))["rounds"]
        lines += [
            "",
            f"Batches an execution: {execution} ({rounds} rounds of {epoch} batches).",
            "",
            "| learning rate | µs a step | ratio to constant |",
            "|---|---:|---:|",
        ]
        for name, row in case["rows"].items():
            spread = f"{row['median']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]"
            lines.append(f"| {name} | {row['microseconds']:.0f} | {spread} |")
    return "\n".join(lines) + "\n"
