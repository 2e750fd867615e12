"""Snapshot ensembles of a ResNet on ants and bees: `python examples/snapshot_ensemble.py --help`."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import textwrap
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

# TensorFlow leaves oneDNN off on some processors where it halves the time of a step.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Its log would come before the first line of this script, and from every process again. What fails is raised.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras_sgdr  # noqa: F401  # Before Keras itself: it keeps TensorFlow to that.

# isort: split
import keras
import numpy as np
import tyro
from matplotlib.figure import Figure
from scipy import stats

from keras_sgdr import SGDR, SnapshotCheckpoint, SnapshotEnsemble
from keras_sgdr.data import ants_bees, batches
from keras_sgdr.environment import environment
from keras_sgdr.models import resnet
from keras_sgdr.plotting import plot_ensemble
from keras_sgdr.snapshots import Report, Scores, scores
from keras_sgdr.study.results.table import Table

__all__ = ["Options", "main"]

SNAPSHOT, AVERAGE, INDEPENDENT, LAST = "snapshot ensemble", "weight average", "independent models", "last member"


@dataclass(frozen=True)
class Options:
    """Train with snapshots at the ends of cycles, and compare their ensemble with its alternatives."""

    seeds: int = 1
    """Number of trainings. With more than the cycles of one, there are ensembles of independent models."""
    seed: int = 0
    """Seed of the first training: of its head's first weights, the order of the images and their crops."""
    output: Path = Path("runs", "snapshot_ensemble")
    """Folder to write into. A seed whose `scores.json` is there is not trained again."""
    T_0: float = 2
    """Length of the first cycle, in epochs."""
    T_mult: float = 2
    """Factor from one cycle's length to the next."""
    data: Path | None = None
    """Folder with train and val in it. None: $ANTS_BEES_DIR, else data/hymenoptera_data, else downloaded."""
    image_size: int = 96
    """Side of the images, in pixels."""
    batch_size: int = 16
    """Number of images in a batch."""
    weights: str = os.environ.get("SGDR_WEIGHTS") or "imagenet"
    """imagenet (downloaded once), a .safetensors or .pth file in torchvision's names, or none: random. Unless given,
    $SGDR_WEIGHTS where it is set."""
    depth: Literal[50, 101, 152] = 50
    """Number of layers of the network."""
    epochs: int = 14
    """Epochs of each training."""
    eta_max: float = 0.01
    """Learning rate at every restart, of SGD with momentum 0.9."""


def main(options: Options) -> dict[str, Any]:
    """Train every seed, and compare the models on the validation images, paired by seed:

    - the last member, which is the model at the end of training;
    - the ensemble of all members, of which the paper promises more;
    - the average of their weights, with BatchNorm's statistics estimated again from the training images;
    - as many independent models: the last members of this seed and of the following ones, cyclically. These groups
      overlap, so the intervals of their differences are approximate.

    Prints a table. Writes `summary.json`, `report.md` and `ensemble.png` (members and ensemble of the first seed).

    Returns:
        The content of `summary.json`.

    Raises:
        ValueError: If an option is out of range, the weights or the folder of images do not fit, or the output folder
            has runs of other options.
    """
    data = ants_bees.load_or_draw(options.data, options.image_size, options.seed)
    results = [train_and_score(options, seed, data) for seed in range(options.seed, options.seed + options.seeds)]
    models = {name: [Scores(*result["scores"][name]) for result in results] for name in (LAST, SNAPSHOT, AVERAGE)}
    n_members = len(results[0]["cycles"])
    if options.seeds > n_members:
        models[INDEPENDENT] = independent(results, n_members)
    summary = {
        "options": dataclasses.asdict(options),
        **{name: results[0][name] for name in ("data", "versions", "hardware")},
        "members": n_members,
        "scores": {name: [score._asdict() for score in of_seeds] for name, of_seeds in models.items()},
        "differences": {name: differences(of_seeds, models[LAST]) for name, of_seeds in models.items() if name != LAST},
    }
    compared, remark = table(models, summary["differences"]), ""
    if INDEPENDENT in models:
        gains = summary["against independent"] = differences(models[SNAPSHOT], models[INDEPENDENT])
        rows = "; ".join(f"{name.replace('_', ' ')} {spread(row)}" for name, row in gains.items())
        remark = f"\n{SNAPSHOT.capitalize()} minus {INDEPENDENT}: {rows}.\n"
    (options.output / "summary.json").write_text(json.dumps(summary, indent=2, default=str) + "\n")
    (options.output / "report.md").write_text(compared.markdown() + f"\n{remark}")
    draw(results[0], options.output / "ensemble.png")
    print(f"{compared}\n\n{textwrap.fill(remark, 80)}".rstrip())
    return summary


def train_and_score(options: Options, seed: int, data: tuple[str, Any, Any]) -> dict[str, Any]:
    """Train a seed, and score the members and the models made of them; read the results if the seed is done."""
    folder = options.output / f"seed-{seed:03d}"
    path = folder / "scores.json"
    chosen = {**dataclasses.asdict(options), "seed": seed}
    chosen = {name: str(value) for name, value in chosen.items() if name not in ("seeds", "output")}
    if path.is_file():
        done: dict[str, Any] = json.loads(path.read_text())
        if done["options"] != chosen:
            raise ValueError(
                f"All runs of a folder must have the same options. Received: {chosen}, while {path} has "
                f"{done['options']}. Pass another --output."
            )
        return done
    images, train, val = data
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    system = environment()
    # Each shape of a batch costs XLA a compilation. TensorFlow does without it: see finetune_ants_bees.py, `jit`.
    is_xla = system["backend"] == "jax"
    batched = partial(
        batches, batch_size=options.batch_size, image_size=options.image_size, seed=seed, one_shape=is_xla
    )
    training, validation = batched(*train, training=True), batched(*val, training=False)

    side = options.image_size
    model = resnet(options.depth, options.weights, classes=2, input_shape=(side, side, 3), preprocess=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(options.eta_max, momentum=0.9)
    model.compile(
        optimizer, loss, metrics=["accuracy"], jit_compile=False if system["backend"] == "tensorflow" else "auto"
    )
    shutil.rmtree(folder / "snapshots", ignore_errors=True)  # Of a training that was stopped.
    callbacks = [SGDR(options.T_0, options.T_mult), SnapshotCheckpoint(folder / "snapshots")]
    model.fit(
        training, validation_data=validation, epochs=options.epochs, callbacks=callbacks, shuffle=False, verbose=2
    )

    ensemble = SnapshotEnsemble.load(folder / "snapshots", model)
    report = ensemble.report(validation)
    print(report)
    last = SnapshotEnsemble.load(folder / "snapshots", model, "last", n_members=1).predict(validation)
    ensemble.average_weights(training)
    averaged = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(validation, verbose=0)))
    result = {
        **system,
        "options": chosen,
        "data": {"source": images, "train": len(train[0]), "val": len(val[0])},
        "cycles": report.cycles,
        "members": report.members,
        "disagreement": report.disagreement.tolist(),
        "labels": val[1].tolist(),
        "last": last.tolist(),
        "scores": {LAST: report.members[-1], SNAPSHOT: report.ensemble, AVERAGE: scores(averaged, val[1])[0]},
    }
    path.write_text(json.dumps(result) + "\n")
    return result


def independent(results: list[dict[str, Any]], n_members: int) -> list[Scores]:
    """Scores of the mean of the last members of each seed and of the `n_members - 1` after it, cyclically."""
    last, labels = np.array([result["last"] for result in results]), np.array(results[0]["labels"])
    groups = [[(seed + k) % len(results) for k in range(n_members)] for seed in range(len(results))]
    return [scores(last[group].mean(axis=0), labels)[0] for group in groups]


def differences(of_seeds: list[Scores], baseline: list[Scores]) -> dict[str, Any]:
    """For each score the mean of the paired differences, and its 95 % t interval; no interval for a single seed."""
    rows = {}
    for place, name in enumerate(Scores._fields):
        paired = np.array(of_seeds)[:, place] - np.array(baseline)[:, place]
        ends = stats.ttest_1samp(paired, 0).confidence_interval(0.95) if len(paired) > 1 else (None, None)
        interval = [None if end is None else float(end) for end in ends]
        rows[name] = {"n": len(paired), "mean": float(paired.mean()), "interval": interval}
    return rows


def table(models: dict[str, list[Scores]], compared: dict[str, Any]) -> Table:
    """A row per model: mean scores, and the paired differences from the last member with their intervals."""
    rows = []
    for model, of_seeds in models.items():
        row = [model, str(len(of_seeds))]
        for name in Scores._fields:
            mean = np.mean([getattr(score, name) for score in of_seeds])
            row += [f"{mean:.4f}", spread(compared[model][name]) if model in compared else ""]
        rows.append(tuple(row))
    scored = [heading for name in Scores._fields for heading in (name.replace("_", " "), "from last member")]
    return Table("Mean over the seeds, on the validation images", ("model", "n", *scored), rows)


def spread(row: dict[str, Any]) -> str:
    """Mean and interval of a difference."""
    low, high = row["interval"]
    return f"{row['mean']:+.4f}" + ("" if low is None else f" [{low:+.4f}, {high:+.4f}]")


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw every score of the members and of the ensemble."""
    members = [Scores(*member) for member in result["members"]]
    report = Report(result["cycles"], members, Scores(*result["scores"][SNAPSHOT]), np.array(result["disagreement"]))
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    for axes, score in zip(figure.subplots(1, 3), ("loss", "accuracy", "calibration_error"), strict=True):
        plot_ensemble(report, axes, score=score)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    # Underscores, so that the flags are the paper's symbols: --T_0, --eta_max.
    try:
        main(tyro.cli(Options, use_underscores=True))
    except ValueError as error:
        sys.exit(f"error: {error}")
