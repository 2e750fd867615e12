"""Snapshot ensembles of a ResNet on ants and bees: `python examples/snapshot_ensemble.py --help`."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Before Keras is imported, for the reason that `finetune_ants_bees.py` gives.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats

from examples.finetune_ants_bees import CommonOptions, finetune, load_images, load_model
from keras_sgdr import SnapshotCheckpoint, SnapshotEnsemble
from keras_sgdr.data import batches
from keras_sgdr.evaluation import Report, Scores, scores
from keras_sgdr.plotting import plot_ensemble

__all__ = ["Options", "main"]

SNAPSHOT, AVERAGE, INDEPENDENT, LAST = "snapshot ensemble", "weight average", "independent models", "last member"


@dataclass(frozen=True)
class Options(CommonOptions):
    """Train with snapshots at the ends of cycles, and compare their ensemble with what else there is."""

    seeds: int = 1
    """Trainings, seeded from `seed` on. With more than the cycles of one, there are ensembles of independent models."""
    output: Path = Path("runs", "snapshot_ensemble")
    """Folder for what the runs write. A seed whose `scores.json` is there is not trained again."""


def main(options: Options) -> dict[str, Any]:
    """Trains every seed and compares, on the validation images and by seed:

    - the last member, which is the model that training ends with;
    - the ensemble of all members, of which the paper promises more;
    - the average of their weights, BatchNorm's statistics taken anew from the training images;
    - as many independent models: the last members of this seed and the following ones, around the end. These groups
      overlap, so the intervals of their differences are approximate.

    Prints a table. Writes `summary.json`, `report.md` and `ensemble.png` (members and ensemble of the first seed).

    Returns:
        What `summary.json` holds.

    Raises:
        ValueError: An option is out of range, or the weights or the folder of images do not fit.
    """
    console = Console()
    found = []
    for seed in range(options.seed, options.seed + options.seeds):
        one = dataclasses.replace(options, seed=seed, output=options.output / f"seed-{seed:03d}")
        found.append(of_seed(one, console))
    reached = {name: [Scores(*seed["scores"][name]) for seed in found] for name in (LAST, SNAPSHOT, AVERAGE)}
    members = len(found[0]["cycles"])
    if options.seeds > members:
        reached[INDEPENDENT] = independent(found, members)
    summary = {
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()},
        "data": found[0]["data"],
        "weights": found[0]["weights"],
        "versions": found[0]["versions"],
        "hardware": found[0]["hardware"],
        "members": members,
        "scores": {name: [one._asdict() for one in values] for name, values in reached.items()},
        "differences": {name: differences(values, reached[LAST]) for name, values in reached.items() if name != LAST},
    }
    if INDEPENDENT in reached:
        summary["against independent"] = differences(reached[SNAPSHOT], reached[INDEPENDENT])
    (options.output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    text = table(reached, summary["differences"])
    if INDEPENDENT in reached:
        rows = summary["against independent"].items()
        compared = "; ".join(f"{name.replace('_', ' ')} {spread(row)}" for name, row in rows)
        text += f"\n{SNAPSHOT.capitalize()} minus {INDEPENDENT}: {compared}.\n"
    (options.output / "report.md").write_text(text)
    draw(found[0], options.output / "ensemble.png")
    print(text)
    return summary


def of_seed(options: CommonOptions, console: Console) -> dict[str, Any]:
    """Train a seed, unless it was, and score its members and what is made of them."""
    path = options.output / "scores.json"
    asked = {name: str(value) for name, value in vars(options).items() if name not in ("seeds", "output")}
    if path.is_file():
        done: dict[str, Any] = json.loads(path.read_text())
        if done["options"] != asked:
            raise ValueError(
                f"A folder of runs is of one set of options. Received: {asked}, while {path} is of {done['options']}. "
                "Pass another --output."
            )
        return done
    keras.backend.clear_session()
    snapshots = options.output / "snapshots"
    keeper = SnapshotCheckpoint(snapshots, resume=True)
    summary = finetune(options, keras.optimizers.SGD(options.eta_max, momentum=0.9), keeper)
    # The snapshots hold it.
    (options.output / "model.keras").unlink()

    _, train, val = load_images(options, console)
    images = partial(batches, batch_size=options.batch_size, image_size=options.image_size, seed=options.seed)
    validation, labels = images(*val, training=False), val[1]
    _, model = load_model(options, console)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ensemble = SnapshotEnsemble.load(snapshots, model)
    report = ensemble.report(validation)
    print(report)
    last = SnapshotEnsemble.load(snapshots, model, "last", m=1).predict(validation)
    ensemble.average_weights(images(*train, training=True))
    averaged = keras.ops.softmax(model.predict(validation, verbose=0))
    found = {
        **{name: summary[name] for name in ("data", "weights", "versions", "hardware", "seconds")},
        "options": asked,
        "cycles": report.cycles,
        "members": report.members,
        "disagreement": report.disagreement.tolist(),
        "labels": labels.tolist(),
        "last": last.tolist(),
        "scores": {
            LAST: report.members[-1],
            SNAPSHOT: report.ensemble,
            AVERAGE: scores(keras.ops.convert_to_numpy(averaged), labels)[0],
        },
    }
    path.write_text(json.dumps(found) + "\n")
    return found


def independent(found: list[dict[str, Any]], members: int) -> list[Scores]:
    """Scores of the mean of the last members of each seed and the `members - 1` after it, around the end."""
    last, labels = np.array([seed["last"] for seed in found]), np.array(found[0]["labels"])
    groups = [[(seed + k) % len(found) for k in range(members)] for seed in range(len(found))]
    return [scores(last[group].mean(axis=0), labels)[0] for group in groups]


def differences(values: list[Scores], last: list[Scores]) -> dict[str, Any]:
    """By score: mean and 95 % t interval of the paired differences from the last member; no interval of one seed."""
    rows = {}
    for place, name in enumerate(Scores._fields):
        paired: NDArray[Any] = np.array(values)[:, place] - np.array(last)[:, place]
        found = stats.ttest_1samp(paired, 0).confidence_interval(0.95) if len(paired) > 1 else (None, None)
        interval = [None if end is None else float(end) for end in found]
        rows[name] = {"n": len(paired), "mean": float(paired.mean()), "interval": interval}
    return rows


def table(reached: dict[str, list[Scores]], compared: dict[str, Any]) -> str:
    """A row a model: mean scores, and the paired differences from the last member with their intervals."""
    names = [name.replace("_", " ") for name in Scores._fields]
    lines = [
        "| model | n | " + " | ".join(f"{name} | from last member" for name in names) + " |",
        "|---|---:|" + "---:|" * 6,
    ]
    for model, values in reached.items():
        cells = [model, str(len(values))]
        for name in Scores._fields:
            cells.append(f"{np.mean([getattr(one, name) for one in values]):.4f}")
            cells.append(spread(compared[model][name]) if model in compared else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(row: dict[str, Any]) -> str:
    """Mean and interval of a difference."""
    low, high = row["interval"]
    return f"{row['mean']:+.4f}" + ("" if low is None else f" [{low:+.4f}, {high:+.4f}]")


def draw(found: dict[str, Any], path: Path) -> None:
    """Draws every score of the members and of the ensemble."""
    members, disagreement = [Scores(*one) for one in found["members"]], np.array(found["disagreement"])
    report = Report(found["cycles"], members, Scores(*found["scores"][SNAPSHOT]), disagreement)
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    for axes, score in zip(figure.subplots(1, 3), ("loss", "accuracy", "calibration_error"), strict=True):
        plot_ensemble(report, axes, score=score)  # type: ignore[arg-type]
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    # Underscores, so that the flags read as the paper's symbols: --T_0, --eta_max.
    main(tyro.cli(Options, use_underscores=True))
