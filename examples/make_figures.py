"""Draws the README's pictures: `python examples/make_figures.py --help`."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# TensorFlow's log would come before the first line of this script.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tyro
from matplotlib.figure import Figure

from keras_sgdr import Schedule, StepDecay, WarmRestarts
from keras_sgdr.plotting import COLORS, plot_history, plot_learning_rate

__all__ = ["Options", "main"]

# The settings of the paper's figures 1 and 2, and its peak of 0.05.
EPOCHS, ETA_MAX = 200, 0.05
EQUAL_CYCLES: dict[str, Schedule] = {f"T_0={T_0}, T_mult=1": WarmRestarts(T_0, 1, ETA_MAX) for T_0 in (50, 100, 200)}
GROWING_CYCLES: dict[str, Schedule] = {f"T_0={T_0}, T_mult=2": WarmRestarts(T_0, 2, ETA_MAX) for T_0 in (1, 10)}
BASELINE: dict[str, Schedule] = {"step decay: x 0.2 every 60": StepDecay(ETA_MAX, step_size=60, gamma=0.2)}
# All in one, as in the paper, except that its step decay drops last after 160 epochs, not 180.
FIGURE_1: dict[str, Schedule] = {
    f"step decay from {eta}": StepDecay(eta, step_size=60, gamma=0.2) for eta in (2 * ETA_MAX, ETA_MAX)
}
FIGURE_1 |= EQUAL_CYCLES | GROWING_CYCLES


@dataclass(frozen=True)
class Options:
    """Draw the README's pictures."""

    run: Path = Path("runs", "demo")
    """Output folder of examples/finetune_ants_bees.py, as from `make demo`."""
    output: Path = Path("docs", "figures")
    """Folder for schedules.png, figure_1.png and finetune.png."""


def main(options: Options) -> None:
    """Draw `schedules.png` and `figure_1.png`, which need no training, and `finetune.png` from the files of a run.

    Raises:
        FileNotFoundError: If the run has no `summary.json`.
    """
    if not (options.run / "summary.json").is_file():
        raise FileNotFoundError(
            f"`run` must be the output folder of a finished fine-tuning run. Received: run={options.run}, which has no "
            "summary.json. Run `make demo` first."
        )
    options.output.mkdir(parents=True, exist_ok=True)
    schedules().savefig(options.output / "schedules.png", dpi=150)
    figure_1().savefig(options.output / "figure_1.png", dpi=150)
    finetune(options.run).savefig(options.output / "finetune.png", dpi=150)


def schedules() -> Figure:
    """The paper's settings in two panels, equal and growing cycles, each beside step decay."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, cycles in zip(panels, (EQUAL_CYCLES, GROWING_CYCLES), strict=True):
        plot_learning_rate(BASELINE | cycles, EPOCHS, panel)
        panel.label_outer()
    # A colour is one setting in both panels.
    for line, color in zip(panels[1].lines[1:], COLORS[1 + len(EQUAL_CYCLES) :], strict=False):
        line.set_color(color)
    panels[1].legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return figure


def figure_1() -> Figure:
    """The paper's figure 1: all its settings and two step decays together, on a logarithmic scale."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    plot_learning_rate(FIGURE_1, EPOCHS, figure.subplots(), log=True)
    return figure


def finetune(run: Path) -> Figure:
    """Learning rate, losses and accuracies of one run, stacked."""
    summary = json.loads((run / "summary.json").read_text())
    history = read_history(run / "history.csv")
    options = summary["options"]
    schedule = WarmRestarts(options["T_0"], options["T_mult"], options["eta_max"], options["eta_min"])
    ends = schedule.cycle_ends(options["epochs"])

    figure = Figure(figsize=(8, 7.5), layout="constrained")
    what = f"ResNet-{options['depth']} from {summary['weights']}, on {summary['data']['source']}"
    at_ends = ", ".join(f"{loss:.3g}" for loss in (cycle["val_loss"] for cycle in summary["cycles"]))
    figure.suptitle(f"Validation loss at the ends of cycles: {at_ends}\n{what}", fontsize=10)
    rate, loss, accuracy = figure.subplots(3, 1, sharex=True)
    plot_learning_rate(schedule, options["epochs"], rate, steps_per_epoch=summary["data"]["steps_per_epoch"])
    rate.lines[0].set_color("0.2")  # Blue is training, orange validation, in both panels below.
    plot_history(history, loss, cycle_ends=ends)
    plot_history(history, accuracy, metrics=("accuracy", "val_accuracy"), cycle_ends=ends)
    for panel in (rate, loss):
        panel.label_outer()
    return figure


def read_history(path: Path) -> dict[str, list[float]]:
    """The columns of a `history.csv`."""
    with path.open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


if __name__ == "__main__":
    main(tyro.cli(Options))
