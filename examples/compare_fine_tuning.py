"""What people use beside restarts, compared on ants and bees: `python examples/compare_fine_tuning.py --help`."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# TensorFlow's log would come before the first line of this script, and from every training again. What fails is raised.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tyro
from matplotlib.figure import Figure

from keras_sgdr.study.results.figures import plot_means
from keras_sgdr.study.results.report import Summary
from keras_sgdr.study.results.statistics import differences, spread
from keras_sgdr.study.results.table import Table
from keras_sgdr.study.results.tables import compared, rows_of

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Options", "main", "report"]

# Options of finetune_ants_bees.py by what is compared; the first is the baseline.
WAYS = {
    "one rate": [],
    "rates by group": ["--multipliers", "fc", "1", "layer4", "0.3", "*", "0.1"],
    "unfreezing": ["--unfreeze", "1", "layer4", "2", "*"],
}
AVERAGE = ", average"
SCRIPT = [str(Path(__file__).with_name("finetune_ants_bees.py"))]


@dataclass(frozen=True)
class Options:
    """Fine-tune with one rate, with rates by group and with unfreezing, from several seeds: SGDR (2, 2), 14 epochs."""

    seeds: int = 5
    """Trainings of each. For a seed all have the same first weights, batches and crops."""
    jobs: int = 1
    """Trainings at a time."""
    image_size: int = 64
    """Side of the images, in pixels."""
    epochs: int = 14
    """Epochs of each training; cycles end after 2, 6 and 14."""
    data: Path | None = None
    """Folder with train and val in it. None: $ANTS_BEES_DIR, else data/hymenoptera_data, else downloaded."""
    weights: str = os.environ.get("SGDR_WEIGHTS") or "imagenet"
    """imagenet (downloaded once), a .safetensors or .pth file in torchvision's names, or none: random. Unless given,
    $SGDR_WEIGHTS where it is set."""
    output: Path = Path("runs", "compare_fine_tuning")
    """Folder to write into. A training whose `summary.json` is there is not made again."""


def main(options: Options) -> DataFrame:
    """Train what is missing, print tables, and write `results.csv`, `report.md` and `val_loss.png`.

    Each training is one of `finetune_ants_bees.py --average`, so that the average of its cycle ends is measured beside
    its last weights.

    Returns:
        A row per model, seed and epoch: see `Study.results`. An average is another model, at the ends of cycles.

    Raises:
        ValueError: If a training fails, or the folder has trainings of other options.
    """
    trainings = [(way, seed) for seed in range(options.seeds) for way in WAYS]
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = [row for several in pool.map(lambda each: train(options, *each), trainings) for row in several]
    import pandas as pd

    results = pd.DataFrame(rows)
    results.to_csv(options.output / "results.csv", index=False)
    summary = report(results)
    (options.output / "report.md").write_text(summary.markdown())
    figure = Figure(figsize=(7, 5), layout="constrained")
    plot_means(results[~results["schedule"].str.endswith(AVERAGE)], figure.subplots())
    figure.savefig(options.output / "val_loss.png", dpi=150)
    print(f"\n{summary}")
    return results


def train(options: Options, way: str, seed: int) -> list[dict[str, Any]]:
    """Rows of one training, made now or before."""
    folder = options.output / f"{way.replace(' ', '_')}-{seed:03d}"
    chosen = {name: str(getattr(options, name)) for name in ("image_size", "epochs", "data", "weights")}
    path = folder / "summary.json"
    if not path.is_file():
        settings = [part for name, value in chosen.items() if value != "None" for part in (f"--{name}", value)]
        places = ["--seed", str(seed), "--output", str(folder)]
        command = [sys.executable, *SCRIPT, *settings, "--average", *places, *WAYS[way]]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise ValueError(f"A training must succeed. Received: {way}, seed {seed}: {done.stdout[-2000:]}")
        print(f"{way}, seed {seed}: {done.stdout.splitlines()[-1]}", flush=True)
    summary = json.loads(path.read_text())
    made = {name: str(summary["options"][name]) for name in chosen}
    if made != chosen:
        raise ValueError(
            f"All trainings of a folder must have the same options. Received: {chosen}, while {path} has {made}. Pass "
            "another --output."
        )
    ends = {cycle["last_epoch"] + 1: index for index, cycle in enumerate(summary["cycles"]) if cycle["complete"]}
    rows = []
    with (folder / "history.csv").open() as file:
        for epoch, measured in enumerate(csv.DictReader(file), 1):
            here = {"seed": seed, "epoch": epoch, "cycle": sum(end < epoch for end in ends), "cycle_end": epoch in ends}
            metrics = {name: float(measured[name]) for name in ("val_loss", "val_accuracy")}
            rows.append({"schedule": way, **here, **metrics})
            if epoch in ends:
                metrics = {name: summary[f"average_{name}"][ends[epoch]] for name in metrics}
                rows.append({"schedule": way + AVERAGE, **here, **metrics})
    return rows


def report(results: DataFrame) -> Summary:
    """Tables of both metrics at the ends of cycles, and how to read them."""
    # Averages are of ends of cycles alone.
    last = int(results.loc[results["cycle_end"], "epoch"].max())
    results = results[results["epoch"] <= last]
    means = {name: rows_of(spread(results, name)) for name in ("val_loss", "val_accuracy")}
    rows = []
    for name in dict.fromkeys(results["schedule"]):
        cells = [f"{row['mean']:.4f} ± {row['sd']:.4f}" for row in (means[metric][name, last] for metric in means)]
        rows.append((name, str(means["val_loss"][name, last]["n"]), *cells))
    first = next(iter(WAYS))
    tables = [Table(f"After epoch {last}: mean ± SD over the seeds", ("model", "n", *means), rows)]
    for metric in means:
        paired = differences(results, first, metric, own_ends=True)
        tables.append(compared(f"{metric}: difference to {first}", paired, set(), 4))
    notes = [
        "Differences are paired by seed, at the ends of cycles. Each interval stands for itself; the last column is "
        "corrected for the number of rows (Holm).",
        "An average is that of the weights at the ends of the cycles so far, with BatchNorm's statistics estimated "
        "from the training images.",
    ]
    return Summary("", tables, notes)


if __name__ == "__main__":
    # Underscores, so that the flags are those of the other examples.
    try:
        main(tyro.cli(Options, use_underscores=True))
    except ValueError as error:
        sys.exit(f"error: {error}")
