"""Fine-tunes a ResNet on ants and bees with SGDR: `python examples/finetune_ants_bees.py --help`."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

# TensorFlow leaves oneDNN off on processors without AVX512-VNNI, where it still halves the time of a step.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tyro
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from keras_sgdr import SGDR, WarmRestarts
from keras_sgdr.data import ants_bees, batches, drawn_insects
from keras_sgdr.environment import environment
from keras_sgdr.models import resnet
from keras_sgdr.plotting import plot_history, plot_learning_rate

__all__ = ["CommonOptions", "Options", "finetune", "main"]


@dataclass(frozen=True)
class CommonOptions:
    """What fine-tuning a ResNet on ants and bees with SGDR needs to know, whatever the optimizer."""

    depth: Literal[50, 101, 152] = 50
    """Layers of the network."""
    weights: str | None = "imagenet"
    """imagenet (downloaded once), a .safetensors or .pth file in torchvision's names, or None: random."""
    data: Path | None = None
    """Folder with train and val in it. Else $ANTS_BEES_DIR, else data/hymenoptera_data, else downloaded."""
    image_size: int = 96
    """Pixels of a side."""
    batch_size: int = 16
    """Images in a batch."""
    epochs: int = 14
    """Epochs to train."""
    T_0: float = 2
    """Length of the first cycle, in epochs."""
    T_mult: float = 2
    """Each cycle is this many times as long as the one before."""
    eta_max: float = 0.01
    """Learning rate at every restart."""
    eta_min: float = 0.0
    """Learning rate towards which every cycle anneals."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Of the computations; the weights stay in float32."""
    jit: bool | None = None
    """Compile with XLA. None: wherever Keras can, but not for TensorFlow on a CPU, which XLA slows down."""
    steps_per_execution: int | Literal["epoch"] = 1
    """Batches a call of the compiled step; epoch runs a whole epoch in one, which suits a GPU."""
    seed: int = 0
    """Of the head's first weights, the order of the images and their crops."""
    output: Path = Path("runs", "finetune_ants_bees")
    """Folder for what the run writes."""


@dataclass(frozen=True)
class Options(CommonOptions):
    """Fine-tune a ResNet on ants and bees with SGDR."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum 0.9, or AdamW."""


def main(options: Options) -> dict[str, Any]:
    """Fine-tunes as the options say, and returns what `summary.json` holds."""
    return finetune(options, make_optimizer(options))


def finetune(
    options: CommonOptions, optimizer: keras.optimizers.Optimizer, *callbacks: keras.callbacks.Callback
) -> dict[str, Any]:
    """Fine-tunes as the options say, with further callbacks.

    Prints a line an epoch and a row a cycle. Writes into the output folder `history.csv`, `learning_rate.png`,
    `loss.png`, `summary.json` and `model.keras`; the model takes RGB images in 0..255 and gives logits.

    Returns:
        What `summary.json` holds.

    Raises:
        ValueError: An option is out of range, or the weights or the folder of images do not fit.
    """
    console = Console()
    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy(options.precision)
    began = time.perf_counter(), time.process_time()
    found = environment()

    data, train, val = load_images(options, console)
    batched = partial(batches, batch_size=options.batch_size, image_size=options.image_size, seed=options.seed)
    train_batches, val_batches = batched(*train, training=True), batched(*val, training=False)
    steps = len(train_batches)

    weights, model = load_model(options, console)
    model.compile(
        optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # By its name, Keras would create it inside the step, which TensorFlow then traces twice.
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=can_jit(found) if options.jit is None else options.jit,
        steps_per_execution=steps if options.steps_per_execution == "epoch" else options.steps_per_execution,
    )
    schedule = WarmRestarts(options.T_0, options.T_mult, options.eta_max, options.eta_min)
    sgdr = SGDR(schedule=schedule)
    options.output.mkdir(parents=True, exist_ok=True)
    history = model.fit(
        train_batches,
        validation_data=val_batches,
        epochs=options.epochs,
        shuffle=False,  # The batches are shuffled already, image by image.
        verbose=0,
        # Both of the latter read the rate that SGDR puts into the logs.
        callbacks=[
            sgdr,
            keras.callbacks.CSVLogger(str(options.output / "history.csv")),
            ProgressBar(schedule.learning_rates(options.epochs, steps), console),
            *callbacks,
        ],
    )
    model.save(options.output / "model.keras")
    draw(options, schedule, history, steps)
    summary = {
        **found,
        "seed": options.seed,
        "options": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(options).items()
        },
        "data": {"source": data, "train": len(train[0]), "val": len(val[0]), "steps_per_epoch": steps},
        "weights": weights,
        "cycles": sgdr.cycles,
        "seconds": round(time.perf_counter() - began[0], 1),
        "cpu_seconds": round(time.process_time() - began[1], 1),
    }
    (options.output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    console.print(cycle_table(sgdr.cycles))
    console.print(f"{summary['seconds']:.0f} seconds, trained on {data}, from {weights}. Written to {options.output}.")
    return summary


def load_images(options: CommonOptions, console: Console) -> tuple[str, Any, Any]:
    """Where the images are from, the training split, the validation split."""
    # 8 to 7 is what the usual 256 to 224 pixels leave to a centre crop.
    side = options.image_size * 8 // 7
    folder = ants_bees.find(options.data)
    try:
        # Training crops come from larger images: crops of small ones are blurred by enlarging, validation is not.
        train, _ = ants_bees.load_data(folder, max(side, 256))
        _, val = ants_bees.load_data(folder, side)
    # `keras.utils.get_file` raises a bare Exception where a download fails.
    except Exception as error:
        if folder is not None:
            raise
        console.print(f"[bold]No images of ants and bees here, and none to download:[/] {error}", highlight=False)
        console.print("[bold]Training on DRAWN INSECTS instead: the accuracy says nothing about real ones.[/]")
        train, val = drawn_insects(image_size=side, seed=options.seed)
        return "drawn insects", train, val
    source = "the real images"
    console.print(f"{len(train[0])} training and {len(val[0])} validation images: {source}.", highlight=False)
    return source, train, val


def load_model(options: CommonOptions, console: Console) -> tuple[str, keras.Model]:
    """Where the weights are from, and the model."""
    shape = (options.image_size, options.image_size, 3)
    build = partial(resnet, options.depth, classes=len(ants_bees.classes), input_shape=shape, preprocess=True)
    if options.weights is None:
        return "random weights", build()
    try:
        model = build(options.weights)
    except Exception as error:
        if options.weights != "imagenet" or isinstance(error, ValueError):
            raise
        console.print(f"[bold]The ImageNet weights could not be downloaded:[/] {error}", highlight=False)
        console.print("[bold]Training from RANDOM WEIGHTS instead: expect little more than chance.[/]")
        return "random weights", build()
    source = "ImageNet weights" if options.weights == "imagenet" else Path(options.weights).name
    return source, model


def make_optimizer(options: Options) -> keras.optimizers.Optimizer:
    """The optimizer, whose own rate SGDR replaces during `fit`."""
    if options.optimizer == "adamw":
        return keras.optimizers.AdamW(options.eta_max)
    return keras.optimizers.SGD(options.eta_max, momentum=0.9)


def can_jit(found: dict[str, Any]) -> bool | str:
    """Keras's own choice, but for TensorFlow on a CPU."""
    return False if found["backend"] == "tensorflow" and not found["hardware"]["gpus"] else "auto"


class ProgressBar(keras.callbacks.Callback):
    """A bar an epoch, with the learning rate of the next batch, and a line that stays after it.

    Args:
        rates: Learning rate of every update from epoch 0 on: reading the applied one would cost a sync a batch.
        console: Where to draw.
    """

    def __init__(self, rates: np.ndarray[Any, Any], console: Console) -> None:
        super().__init__()
        self._rates, self._console = rates, console

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        steps = self.params["steps"]
        self._epoch_rates = self._rates[epoch * steps : (epoch + 1) * steps]
        self._name = f"epoch {epoch + 1:3d}/{self.params['epochs']}"
        self._began = time.perf_counter()
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}")
        shown = TextColumn("rate {task.fields[rate]:.6f}  loss {task.fields[loss]:.4f}")
        self._bar = Progress(*columns, shown, console=self._console, transient=True)
        self._bar.disable = not self._console.is_terminal
        self._task = self._bar.add_task(self._name, total=steps, rate=self._epoch_rates[0], loss=float("nan"))
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        following = self._epoch_rates[min(batch + 1, len(self._epoch_rates) - 1)]
        self._bar.update(self._task, completed=batch + 1, rate=following, loss=(logs or {})["loss"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.stop()
        logs = logs or {}
        metrics = "  ".join(f"{name} {logs[name]:.4f}" for name in logs if name != "learning_rate")
        self._console.print(
            f"{self._name}  rate {self._epoch_rates[0]:.6f} to {logs['learning_rate']:.6f}  {metrics}  "
            f"{time.perf_counter() - self._began:.1f} s",
            soft_wrap=True,
        )


def draw(options: CommonOptions, schedule: WarmRestarts, history: keras.callbacks.History, steps: int) -> None:
    """Draws `learning_rate.png`, every update, and `loss.png`, every epoch."""
    for name in ("learning_rate", "loss"):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        if name == "loss":
            plot_history(history, axes, cycle_ends=schedule.cycle_ends(options.epochs))
        else:
            plot_learning_rate(schedule, options.epochs, axes, steps_per_epoch=steps)
        figure.savefig(options.output / f"{name}.png", dpi=150)


def cycle_table(cycles: list[dict[str, Any]]) -> Table:
    """A row a cycle: its epochs, counted from 1, its first and last rate, and the metrics at its end."""
    table = Table("cycle", "epochs", box=box.SIMPLE)
    for heading in ("rate from", "to", "loss", "accuracy", "val loss", "val accuracy"):
        table.add_column(heading, justify="right")
    for cycle in cycles:
        rates = [f"{cycle[name]:.2g}" for name in ("first_rate", "last_rate")]
        metrics = [f"{cycle[name]:.3f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy")]
        unfinished = "" if cycle["complete"] else " (cut)"
        epochs = f"{cycle['first_epoch'] + 1} to {cycle['last_epoch'] + 1}{unfinished}"
        table.add_row(str(cycle["index"] + 1), epochs, *rates, *metrics)
    return table


if __name__ == "__main__":
    # Underscores, so that the flags read as the paper's symbols: --T_0, --eta_max.
    main(tyro.cli(Options, use_underscores=True))
