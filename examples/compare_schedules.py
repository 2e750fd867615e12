"""Compares learning rate schedules over many seeds: `python examples/compare_schedules.py --help`."""

from __future__ import annotations

import dataclasses
import os
import sys
import textwrap
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

# TensorFlow leaves oneDNN off on some processors where it makes a step of a ResNet five times as fast.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Its log would come before the first line of this script, and from every process again. What fails is raised.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras_sgdr  # noqa: F401  # Before Keras itself: it keeps TensorFlow to that.

# isort: split
import keras
import tyro

from keras_sgdr import Schedule
from keras_sgdr.data import ants_bees
from keras_sgdr.models import randomize_modules, resnet
from keras_sgdr.models.weights import download_imagenet
from keras_sgdr.study import Study, compared_schedules, tuning_schedules
from keras_sgdr.study.results.report import write_report

__all__ = ["Options", "Preset", "main"]


@dataclass(frozen=True)
class Preset:
    """What a preset sets. An option of the same name replaces its value.

    Attributes:
        randomized: Modules nearest the output that get new random weights and are trained from scratch.
        T_0: Length of SGDR's first cycle where it is compared with step decay, in epochs.
        settings: `(T_0, T_mult)` of the cycles that are compared with one another.
        constant: Whether a constant rate is compared with step decay too.
    """

    depth: Literal[50, 101, 152]
    image_size: int
    batch_size: int
    seeds: int
    epochs: int
    eta_max: float
    jobs: int
    randomized: int
    T_0: float
    settings: tuple[tuple[float, float], ...]
    constant: bool


PRESETS = {
    # All cycles end with the budget.
    "laptop": Preset(50, 64, 16, 5, 14, 0.01, 2, 0, 2, ((2, 2), (2, 1), (7, 1), (14, 1)), constant=True),
    # (100, 1) is the one cosine.
    "paper": Preset(50, 224, 4, 20, 100, 0.001, 1, 40, 10, ((10, 2), (1, 2), (50, 1), (100, 1)), constant=False),
}


@dataclass(frozen=True)
class Options:
    """Compare learning rate schedules of a ResNet on ants and bees, over many seeds."""

    compare: Literal["step_decay", "cycles"] = "step_decay"
    """step_decay: step decay, SGDR, one cosine over the budget, and a constant rate. cycles: SGDR's settings of T_0 and
    T_mult with one another."""
    preset: Literal["laptop", "paper"] = "laptop"
    """laptop: fine-tuning a whole pretrained network at 64 pixels for 14 epochs, half an hour on two cores: how
    schedules differ on a short budget whose cycles all end. paper: the original experiment, a hundred epochs at batch 4
    with forty modules trained from scratch, twenty seeds: for a GPU, or for many hours."""
    T_0: float | None = None
    """Epochs of SGDR's first cycle, beside step decay; every next one is twice as long. None, here and below: the
    preset's."""
    settings: tuple[tuple[float, float], ...] | None = None
    """T_0 and T_mult of each setting of the cycles: --settings 1 2 10 2 for (1, 2) and (10, 2). The others are compared
    with the first."""
    depth: Literal[50, 101, 152] | None = None
    """Number of layers of the network."""
    image_size: int | None = None
    """Side of the images, in pixels."""
    batch_size: int | None = None
    """Number of images in a batch."""
    seeds: int | None = None
    """Runs of each schedule."""
    epochs: int | None = None
    """Epochs of each run."""
    eta_max: float | None = None
    """Initial learning rate of every schedule."""
    randomized: int | None = None
    """Modules nearest the output that get new random weights and are trained from scratch. Not with frozen."""
    constant: bool | None = None
    """Whether a constant rate is compared with step decay too."""
    jobs: int | None = None
    """Runs at a time. One with small images keeps less than two cores busy."""
    minutes: float | None = None
    """Stop after so long, as an epoch ends; the same command goes on there. None: train to the end."""
    together: int = 1
    """Runs that each of these trains in one compiled step, on JAX: for a GPU that one run leaves mostly idle."""
    parallel: Literal["loky", "ray", "dask"] = "loky"
    """Where they run: processes of this machine, or a cluster."""
    weights: str = os.environ.get("SGDR_WEIGHTS") or "imagenet"
    """imagenet (downloaded once), a .safetensors or .pth file in torchvision's names, or none: random. Unless given,
    $SGDR_WEIGHTS where it is set."""
    data: Path | None = None
    """Folder with train and val in it. None: $ANTS_BEES_DIR, else data/hymenoptera_data, else downloaded."""
    frozen: bool = False
    """Train the head alone, on features computed once: all seeds and schedules together, in a minute."""
    margin: float | None = None
    """Largest mean difference of the validation loss that counts as none, to test equivalence; state it before."""
    output: Path | None = None
    """Folder to write into. None: runs/compare_step_decay or compare_cycles."""
    records: Path | None = None
    """Folder of the runs; those that are in it are not made again. None: in the output folder."""


def main(options: Options) -> None:
    """Run the study, print its summary, and write `report.html`, `summary.md`, `results.csv` and the figures.

    Raises:
        ValueError: If an option is out of range, or the weights or the folder of images do not fit.
        ConnectionError: If ImageNet's weights cannot be downloaded.
    """
    preset, output = chosen(options), output_of(options)
    images, train, val = ants_bees.load_or_draw(options.data, preset.image_size)
    if options.weights == "imagenet":  # Before the runs, so that they do not download it all at once.
        download_imagenet(preset.depth)
    study = make_study(options, train, val)
    study.run(preset.jobs, options.parallel, together=options.together, minutes=options.minutes)

    for schedule, seed, traceback in study.failures.itertuples(index=False, name=None):
        print(f"Failed: {schedule}, seed {seed}\n{traceback}")
    if missing := len(study.store.missing()):
        print(f"{len(study.store.runs) - missing} of {len(study.store.runs)} runs are done. The same command goes on.")
    results = study.results
    if results.empty:
        return
    output.mkdir(parents=True, exist_ok=True)
    results.to_csv(output / "results.csv", index=False)
    summary = study.summary(margin=options.margin)
    (output / "summary.md").write_text(summary.markdown())
    origins = {"none": "random weights", "imagenet": "ImageNet weights"}
    weights = origins.get(options.weights) or Path(options.weights).name
    randomized = f", {preset.randomized} modules of it from scratch" if preset.randomized else ""
    trained = "the head alone" if options.frozen else f"all of it{randomized}"
    report = write_report(
        output / "report.html",
        "SGDR against step decay" if options.compare == "step_decay" else "The length of cycles",
        summary,
        study.figures(output / "figures"),
        options=resolved(options),
        trained={"images": images, **study.trained},
        made_with=study.made_with,
        failures=study.failures,
        introduction=f"ResNet-{preset.depth} from {weights}, trained on {images}: {trained}.",
    )
    print(summary)
    print(textwrap.fill(f"Trained on {images}, from {weights}. Written to {report}.", 80, break_long_words=False))


def resolved(options: Options) -> dict[str, Any]:
    """What decides the runs, as it was used: the preset's values with the options in their place, and no local path."""
    of_machine = {"output", "records", "data", "jobs", "minutes", "parallel", "together"}
    # One of the two comparisons needs each.
    of_machine |= {"T_0", "constant"} if options.compare == "cycles" else {"settings"}
    values = {**dataclasses.asdict(options), **dataclasses.asdict(chosen(options))}
    values["weights"] = None if options.weights is None else Path(options.weights).name
    return {name: value for name, value in values.items() if name not in of_machine}


def chosen(options: Options) -> Preset:
    """The preset, with the options that are given in place of its values."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Preset)}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(PRESETS[options.preset], **given)


def output_of(options: Options) -> Path:
    """The folder to write into."""
    return options.output or Path("runs", f"compare_{options.compare}")


def make_study(options: Options, train: tuple[Any, Any], val: tuple[Any, Any]) -> Study:
    """The study of these images, whose runs are in the options' folder."""
    preset = chosen(options)
    is_randomized = preset.randomized and not options.frozen
    return Study(
        partial(build_model, preset.depth, preset.image_size, options.weights),
        (train, val),
        schedules_of(options.compare, preset),
        seeds=preset.seeds,
        epochs=preset.epochs,
        batch_size=preset.batch_size,
        initialize=partial(randomize_last, n=preset.randomized) if is_randomized else None,
        folder=options.records or output_of(options) / ("frozen" if options.frozen else "runs"),
        frozen=options.frozen,
        keep_outputs=not options.frozen,
    )


def schedules_of(compare: str, preset: Preset) -> dict[str, Schedule]:
    """What is compared, the baseline first."""
    compared = compared_schedules(preset.eta_max, preset.epochs, preset.T_0)
    if compare == "step_decay":
        return {name: schedule for name, schedule in compared.items() if preset.constant or name != "constant"}
    schedules: dict[str, Schedule] = {}
    for setting in preset.settings:
        # Under the name that it has beside step decay, so that its runs are made once.
        is_cosine = setting == (preset.epochs, 1)
        one = {"one cosine": compared["one cosine"]} if is_cosine else tuning_schedules(preset.eta_max, [setting])
        schedules |= one
    return schedules


def build_model(depth: Literal[50, 101, 152], image_size: int, weights: str) -> keras.Model:
    """The network, compiled, with a new head from Keras's random seed."""
    model = resnet(depth, weights, classes=2, input_shape=(image_size, image_size, 3), preprocess=True)
    model.compile(
        keras.optimizers.SGD(momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # XLA slows TensorFlow down on a CPU, and on a GPU it compiles for longer than a run takes.
        jit_compile=False if keras.config.backend() == "tensorflow" else "auto",
    )
    return model


def randomize_last(model: keras.Model, seed: int, n: int) -> None:
    """New random weights for the `n` modules nearest the output."""
    randomize_modules(model, n, seed)


if __name__ == "__main__":
    # Underscores, so that the flags are the paper's symbols: --eta_max.
    try:
        main(tyro.cli(Options, use_underscores=True))
    except ValueError as error:
        sys.exit(f"error: {error}")
