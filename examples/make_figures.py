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
from keras_sgdr.plotting import plot_learning_rate, plot_run, plot_schedules

__all__ = ["Options", "main"]

# The settings of the paper's figures 1 and 2, and its peak of 0.05. Its step decay drops last after 160 epochs, not
# after 180.
EPOCHS, ETA_MAX = 200, 0.05
SETTINGS = ((50, 1), (100, 1), (200, 1), (1, 2), (10, 2))
STEP_DECAYS: dict[str, Schedule] = {
    f"step decay from {eta}, x 0.2 every 60 epochs": StepDecay(eta, step_size=60, gamma=0.2)
    for eta in (ETA_MAX, 2 * ETA_MAX)
}
CYCLES: dict[str, Schedule] = {
    f"T_0={T_0}, T_mult={T_mult}": WarmRestarts(T_0, T_mult, ETA_MAX) for T_0, T_mult in SETTINGS
}


@dataclass(frozen=True)
class Options:
    """Draw the README's pictures."""

    run: Path = Path("runs", "demo")
    """Output folder of examples/finetune_ants_bees.py, as from `make demo`."""
    output: Path = Path("docs", "figures")
    """Folder for anatomy.png, schedules.png, figure_1.png and finetune.png."""


def main(options: Options) -> None:
    """Draw `anatomy.png`, `schedules.png` and `figure_1.png`, which need no training, and `finetune.png` of a run.

    Raises:
        FileNotFoundError: If the run has no `summary.json`.
    """
    if not (options.run / "summary.json").is_file():
        raise FileNotFoundError(
            f"`run` must be the output folder of a finished fine-tuning run. Received: run={options.run}, which has no "
            "summary.json. Run `make demo` first."
        )
    options.output.mkdir(parents=True, exist_ok=True)
    anatomy().savefig(options.output / "anatomy.png", dpi=150)
    schedules().savefig(options.output / "schedules.png", dpi=150)
    figure_1().savefig(options.output / "figure_1.png", dpi=150)
    finetune(options.run).savefig(options.output / "finetune.png", dpi=150)


def anatomy() -> Figure:
    """One curve, with the four values that make it: `T_0`, `T_mult`, `eta_max`, `eta_min`."""
    eta_max, eta_min = 0.1, 0.01
    restarts = WarmRestarts(T_0=10, T_mult=2, eta_max=eta_max, eta_min=eta_min)
    epochs = restarts.epochs_for(3)
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panel = figure.subplots()
    plot_learning_rate(restarts, epochs, panel)
    for value, name in ((eta_max, "eta_max"), (eta_min, "eta_min")):
        panel.axhline(value, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        panel.annotate(f"{name} = {value:g}", (epochs, value), (8, 0), textcoords="offset points", va="center")
    lengths = ("T_0 = 10", "T_mult T_0 = 20", "T_mult² T_0 = 40")
    begin = 0.0
    for end, length in zip(restarts.cycle_ends(epochs), lengths, strict=True):
        both = {"arrowstyle": "<->", "color": "0.3", "shrinkA": 0, "shrinkB": 0}
        panel.annotate("", (begin, 1.14 * eta_max), (float(end), 1.14 * eta_max), arrowprops=both)
        panel.text((begin + float(end)) / 2, 1.17 * eta_max, length, ha="center", va="bottom")
        begin = float(end)
    first = float(restarts.cycle_ends(epochs)[0])
    arrow = {"arrowstyle": "->", "color": "0.3"}
    panel.annotate("warm\nrestart", (first, 0.6 * eta_max), (first + 1.5, 0.25 * eta_max), arrowprops=arrow)
    panel.set_ylim(0, 1.32 * eta_max)
    panel.set_yticks([0, eta_max / 2, eta_max])
    panel.set_xlim(0, epochs + 0.6)
    panel.spines[["top", "right"]].set_visible(False)
    return figure


def schedules() -> Figure:
    """The paper's settings, and its step decay from the same rate."""
    name, step_decay = next(iter(STEP_DECAYS.items()))
    return plot_schedules({name: step_decay} | CYCLES, EPOCHS)


def figure_1() -> Figure:
    """What the paper's figure 1 shows, its settings and two step decays on a logarithmic scale, a panel each."""
    return plot_schedules(STEP_DECAYS | CYCLES, EPOCHS, log=True)


def finetune(run: Path) -> Figure:
    """Learning rate, losses and accuracies of one run, stacked."""
    summary = json.loads((run / "summary.json").read_text())
    history = read_history(run / "history.csv")
    options = summary["options"]
    schedule = WarmRestarts(options["T_0"], options["T_mult"], options["eta_max"], options["eta_min"])
    figure = plot_run(history, schedule, options["epochs"], summary["data"]["steps_per_epoch"])
    what = f"ResNet-{options['depth']} from {summary['weights']}, on {summary['data']['source']}"
    at_ends = ", ".join(f"{cycle['val_loss']:.3g}" for cycle in summary["cycles"] if "val_loss" in cycle)
    figure.suptitle(f"Validation loss at the ends of cycles: {at_ends}\n{what}", fontsize=10)
    return figure


def read_history(path: Path) -> dict[str, list[float]]:
    """The columns of a `history.csv`."""
    with path.open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


if __name__ == "__main__":
    main(tyro.cli(Options))
