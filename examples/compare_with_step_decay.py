"""Compares SGDR with step decay over many seeds: `python examples/compare_with_step_decay.py --help`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

# Before Keras is imported, for the reason that `finetune_ants_bees.py` gives.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import tyro
from rich.console import Console

from examples.finetune_ants_bees import CommonOptions, can_jit, load_images, load_model
from keras_sgdr import Schedule
from keras_sgdr.environment import environment
from keras_sgdr.models import randomize_modules
from keras_sgdr.study import Study, compared_schedules
from keras_sgdr.study.report import write_report

__all__ = ["Options", "Preset", "StudyOptions", "main", "run_study"]


@dataclass(frozen=True)
class Preset:
    """What a preset sets. An option of the same name replaces its value."""

    depth: Literal[50, 101, 152]
    image_size: int
    batch_size: int
    seeds: int
    epochs: int
    eta_max: float
    jobs: int


# On the laptop 0.01 is too much for modules that are all new: validation losses of 31 after three epochs.
PRESETS = {"laptop": Preset(50, 64, 32, 5, 7, 0.003, 2), "paper": Preset(152, 224, 4, 20, 100, 0.001, 1)}
# T_0 of SGDR, in epochs: three cycles fill the laptop's budget, as those of (10, 2) fill 70 epochs.
FIRST_CYCLE = {"laptop": 1, "paper": 10}


@dataclass(frozen=True)
class StudyOptions:
    """What a study of a ResNet on ants and bees needs to know, whatever it compares."""

    preset: Literal["laptop", "paper"] = "laptop"
    """laptop: small images and a small budget, at most half an hour on two cores. paper: for a GPU."""
    depth: Literal[50, 101, 152] | None = None
    """Layers of the network. None, here and below: the preset's."""
    image_size: int | None = None
    """Pixels of a side."""
    batch_size: int | None = None
    """Images in a batch."""
    seeds: int | None = None
    """Runs of each schedule."""
    epochs: int | None = None
    """Epochs of each run."""
    eta_max: float | None = None
    """Learning rate with which every schedule begins."""
    weights: str | None = "imagenet"
    """imagenet (downloaded once), a .safetensors or .pth file in torchvision's names, or None: random."""
    data: Path | None = None
    """Folder with train and val in it. Else $ANTS_BEES_DIR, else data/hymenoptera_data, else downloaded."""
    randomized: int = 40
    """Modules, nearest the output, that begin with new random weights and are learnt again. Not with frozen."""
    frozen: bool = False
    """Train the head alone, on features computed once: all seeds and schedules together, in a minute."""
    margin: float | None = None
    """Largest mean difference of the validation loss that counts as none, to test equivalence; state it before."""
    jobs: int | None = None
    """Runs at a time. One of the small images keeps less than two cores busy."""
    parallel: Literal["loky", "ray", "dask"] = "loky"
    """Who runs them: processes of this machine, or a cluster."""


@dataclass(frozen=True)
class Options(StudyOptions):
    """Compare SGDR, one cosine over the budget, and a constant rate with step decay, over many seeds."""

    T_0: float | None = None
    """Epochs of SGDR's first cycle; every next one is twice as long. None: 1 on the laptop, else 10."""
    output: Path = Path("runs", "compare_with_step_decay")
    """Folder for what the study writes. Runs that are in it are not made again."""


def main(options: Options) -> None:
    """Runs the study and writes what `run_study` writes.

    Raises:
        ValueError: An option is out of range, or the weights or the folder of images do not fit.
    """
    preset = chosen(options, PRESETS)
    T_0 = FIRST_CYCLE[options.preset] if options.T_0 is None else options.T_0
    schedules = compared_schedules(preset.eta_max, preset.epochs, T_0)
    run_study("SGDR against step decay", options, preset, schedules, options.output)


def run_study(
    title: str, options: StudyOptions, preset: Preset, schedules: Mapping[str, Schedule], output: Path
) -> None:
    """Runs a study, prints its summary, and writes `report.html`, `summary.md`, `results.csv` and the figures.

    Args:
        title: Of the report.
        options: As given.
        preset: As chosen by the options.
        schedules: By name, the baseline first.
        output: Folder to write into.
    """
    console = Console()
    common = CommonOptions(depth=preset.depth, weights=options.weights, data=options.data, image_size=preset.image_size)
    images, train, val = load_images(common, console)
    weights, _ = load_model(common, console)
    if weights == "random weights":  # What could not be downloaded is not tried again for every seed.
        common = dataclasses.replace(common, weights=None)
    study = Study(
        partial(build_model, common),
        (train, val),
        schedules,
        seeds=preset.seeds,
        epochs=preset.epochs,
        batch_size=preset.batch_size,
        initialize=None if options.frozen or not options.randomized else partial(randomize, n=options.randomized),
        folder=output / ("frozen" if options.frozen else "runs"),
        frozen=options.frozen,
    )
    study.run(preset.jobs, options.parallel)

    for schedule, seed, traceback in study.failures.itertuples(index=False, name=None):
        console.print(f"Failed: {schedule}, seed {seed}\n{traceback}", highlight=False, markup=False)
    study.results.to_csv(output / "results.csv", index=False)
    summary = study.summary(margin=options.margin)
    (output / "summary.md").write_text(summary.markdown())
    trained = "the head alone" if options.frozen else f"all of it, with {options.randomized} modules randomised"
    report = write_report(
        output / "report.html",
        title,
        summary,
        study.figures(output / "figures"),
        options={**dataclasses.asdict(options), **dataclasses.asdict(preset)},
        failures=study.failures,
        introduction=f"ResNet-{preset.depth} from {weights}, trained on {images}: {trained}.",
    )
    print(summary)
    console.print(f"Trained on {images}, from {weights}. Written to {report}.")


def chosen(options: StudyOptions, presets: Mapping[str, Preset]) -> Preset:
    """The preset, with the options that are given in place of its values."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Preset)}
    return dataclasses.replace(
        presets[options.preset], **{name: value for name, value in given.items() if value is not None}
    )


def build_model(options: CommonOptions) -> keras.Model:
    """The network, compiled, with a new head from Keras's random seed."""
    _, model = load_model(options, Console(quiet=True))
    model.compile(
        keras.optimizers.SGD(momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=can_jit(environment()),
    )
    return model


def randomize(model: keras.Model, seed: int, n: int) -> None:
    """New weights, a seed's own, for the `n` modules nearest the output."""
    randomize_modules(model, n, seed)


if __name__ == "__main__":
    # Underscores, so that the flags read as the paper's symbols: --eta_max.
    main(tyro.cli(Options, use_underscores=True))
