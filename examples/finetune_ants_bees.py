"""Fine-tunes a ResNet on ants and bees with SGDR: `python examples/finetune_ants_bees.py --help`."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

# TensorFlow leaves oneDNN off on processors without AVX512-VNNI, where it still halves the time of a step.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Its log would come before the first line of this script, and from every process again. What fails is raised.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras_sgdr  # noqa: F401  # Before Keras itself: it keeps TensorFlow to that.

# isort: split
import keras
import tyro
from tabulate import tabulate

from keras_sgdr import SGDR, CycleAverage, WarmRestarts
from keras_sgdr.data import ants_bees, batches, drawn_insects
from keras_sgdr.environment import environment
from keras_sgdr.models import resnet
from keras_sgdr.models.weights import download_imagenet
from keras_sgdr.optimizers import AdamWR
from keras_sgdr.plotting import plot_run

__all__ = ["Options", "main"]

# Learning rate at every restart, unless `eta_max` is given.
PEAKS = {"sgd": 0.01, "adamw": 0.0003, "adamwr": 0.0003}
SMALL_PEAK = 0.05  # Of the small network, with SGD.
# Images at a time in validation, at most: without gradients they need little memory.
VALIDATION_BATCH = 64


@dataclass(frozen=True)
class Options:
    """Fine-tune a ResNet on ants and bees with SGDR."""

    optimizer: Literal["sgd", "adamw", "adamwr"] = "sgd"
    """SGD with momentum 0.9, AdamW, or AdamWR, whose weight decay is normalised by the length of each cycle."""
    T_0: float = 2
    """Length of the first cycle, in epochs."""
    T_mult: float = 2
    """Factor from one cycle's length to the next."""
    epochs: int = 14
    """Epochs to train."""
    eta_max: float | None = None
    """Learning rate at every restart. None: 0.01 with SGD, 0.0003 with AdamW and AdamWR."""
    eta_min: float = 0.0
    """Learning rate that every cycle anneals to."""
    lambda_norm: float = 0.025
    """Normalised weight decay of AdamWR; the paper's are 0.025 to 0.05."""
    data: Path | None = None
    """Folder with train and val in it. None: $ANTS_BEES_DIR, else data/hymenoptera_data, else downloaded."""
    image_size: int = 96
    """Side of the images, in pixels."""
    batch_size: int = 16
    """Number of images in a batch."""
    network: Literal["resnet", "small"] = "resnet"
    """small: three convolutions, which learn drawn insects in a minute; taken by itself, on images of 32 pixels, where
    there are neither images nor weights."""
    depth: Literal[50, 101, 152] = 50
    """Number of layers of the ResNet."""
    multipliers: dict[str, float] | None = None
    """Rates for groups of layers, multiples of the schedule's: fc 1 layer4 0.3 "*" 0.1. See SGDR's rate_multipliers."""
    unfreeze: dict[int, str] | None = None
    """Layers that become trainable at a restart: 1 layer4 2 "*". Until then all but the head are frozen."""
    average: bool = False
    """Put the average of the weights at cycle ends into the model that is saved."""
    weights: str = os.environ.get("SGDR_WEIGHTS") or "imagenet"
    """imagenet (downloaded once), a .safetensors or .pth file in torchvision's names, or none: random. Unless given,
    $SGDR_WEIGHTS where it is set."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Precision of the computations; the weights stay in float32."""
    jit: bool | None = None
    """Compile with XLA. None: Keras's choice, except on TensorFlow: there it slows steps down on a CPU, and on a GPU
    compiling takes longer than the whole training."""
    steps_per_execution: int | Literal["epoch"] | None = None
    """Batches in a call of the compiled step; epoch: a whole epoch, so that bars and logs move by the epoch. None:
    epoch on a GPU, where it is fastest (PyTorch has no more than 1), else 1."""
    seed: int = 0
    """Seed of the head's first weights, the order of the images and their crops."""
    output: Path = Path("runs", "finetune_ants_bees")
    """Folder to write into."""


def main(options: Options, callbacks: Sequence[keras.callbacks.Callback] = ()) -> dict[str, Any]:
    """Fine-tune, and print a line per epoch and a row per cycle.

    Writes `history.csv`, `training.png`, `summary.json` and `model.keras` into the output folder. The
    model takes RGB images in 0..255 and returns logits. With AdamWR it loads after `import keras_sgdr.optimizers`.

    Args:
        options: What is trained, and how.
        callbacks: Further callbacks.

    Returns:
        The content of `summary.json`.

    Raises:
        ValueError: If an option is out of range, or the weights or the folder of images do not fit.
    """
    start = time.perf_counter(), time.process_time()
    # Python's generator draws the seed of each layer. Keras's function imports TensorFlow on every backend: seconds.
    seed = keras.utils.set_random_seed if keras.backend.backend() == "tensorflow" else random.seed
    seed(options.seed)
    keras.config.set_dtype_policy(options.precision)
    if options.epochs < 1:
        raise ValueError(f"`epochs` must be a positive integer. Received: epochs={options.epochs}. Pass epochs=14.")
    options.output.mkdir(parents=True, exist_ok=True)
    system = environment()

    images, train, val = ants_bees.load_or_draw(options.data, options.image_size, options.seed)
    if images == "drawn insects" and options.network == "resnet" and not has_weights(options):
        print("Neither images nor weights: a small network learns to tell drawn insects apart, to show how it works.")
        options = dataclasses.replace(options, network="small", image_size=32)
        (train, _), (_, val) = (drawn_insects(1000, 200, side, options.seed) for side in (64, 36))
    peak = SMALL_PEAK if options.network == "small" and options.optimizer == "sgd" else PEAKS[options.optimizer]
    eta_max = peak if options.eta_max is None else options.eta_max
    options = dataclasses.replace(options, eta_max=eta_max)
    print(f"{len(train[0])} training and {len(val[0])} validation images: {images}.")
    jit = options.jit if options.jit is not None else False if system["backend"] == "tensorflow" else "auto"
    # Each shape of a batch costs XLA a compilation.
    is_xla = jit is True or system["backend"] == "jax"
    batched = partial(batches, image_size=options.image_size, seed=options.seed, one_shape=is_xla)
    training = batched(*train, batch_size=options.batch_size, training=True)
    validation = batched(*val, batch_size=VALIDATION_BATCH, training=False)
    steps = len(training)
    execution = options.steps_per_execution
    if execution is None:
        execution = "epoch" if system["hardware"]["gpus"] and system["backend"] != "torch" else 1

    weights, model = load_model(options)
    for layer in model.layers[:-1] if options.unfreeze else ():
        layer.trainable = False
    model.compile(
        make_optimizer(options.optimizer, eta_max, options.lambda_norm),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit,
        steps_per_execution=steps if execution == "epoch" else execution,
    )
    schedule = WarmRestarts(options.T_0, options.T_mult, eta_max, options.eta_min)
    sgdr = SGDR(schedule=schedule, rate_multipliers=options.multipliers, unfreeze=options.unfreeze)
    average = [CycleAverage(data=training, verbose=1)] if options.average else []
    # It writes the learning rate that `SGDR` puts into the logs.
    log = keras.callbacks.CSVLogger(str(options.output / "history.csv"))
    history = model.fit(
        training,
        validation_data=validation,
        epochs=options.epochs,
        shuffle=False,  # The batches are shuffled already, image by image.
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[sgdr, log, TimeLeft(), *average, *callbacks],
    )
    model.save(options.output / "model.keras")
    plot_run(history, schedule, options.epochs, steps).savefig(options.output / "training.png", dpi=150)
    summary = {
        **system,
        "seed": options.seed,
        "options": dataclasses.asdict(options),
        "data": {"source": images, "train": len(train[0]), "val": len(val[0]), "steps_per_epoch": steps},
        "weights": weights,
        "cycles": sgdr.cycles,
        "average_val_loss": history.history.get("average_val_loss"),
        "average_val_accuracy": history.history.get("average_val_accuracy"),
        "seconds": round(time.perf_counter() - start[0], 1),
        "cpu_seconds": round(time.process_time() - start[1], 1),
    }
    (options.output / "summary.json").write_text(json.dumps(summary, indent=2, default=str) + "\n")
    print(cycle_table(sgdr.cycles, steps, options.lambda_norm if options.optimizer == "adamwr" else None))
    print(f"{summary['seconds']:.0f} seconds, trained on {images}, from {weights}. Written to {options.output}.")
    return summary


def load_model(options: Options) -> tuple[str, keras.Model]:
    """Where the weights are from, and the model."""
    if options.network == "small":
        return "random weights", small_network(options.image_size)
    shape = (options.image_size, options.image_size, 3)
    build = partial(resnet, options.depth, classes=2, input_shape=shape, preprocess=True)
    if options.weights != "none":
        try:
            model = build(options.weights)
            return "ImageNet weights" if options.weights == "imagenet" else Path(options.weights).name, model
        except ConnectionError as error:
            print(error)
    print("Training from RANDOM WEIGHTS: expect little more than chance.")
    return "random weights", build()


def has_weights(options: Options) -> bool:
    """Whether the weights that are asked for are there, or could be downloaded; says why not."""
    if options.weights == "imagenet":
        try:
            download_imagenet(options.depth)
        except ConnectionError as error:
            print(error)
            return False
    return True


def small_network(side: int) -> keras.Model:
    """A convolutional network that learns to tell drawn insects apart within a minute."""
    blocks = [
        layer
        for width in (16, 32, 64)
        for layer in (
            keras.layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        )
    ]
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    return keras.Sequential(
        [keras.Input((side, side, 3)), keras.layers.Rescaling(1 / 127.5, offset=-1), *blocks, *head]
    )


def make_optimizer(name: str, eta_max: float, lambda_norm: float = 0.025) -> keras.optimizers.Optimizer:
    """The optimizer. `SGDR` replaces its learning rate during `fit`."""
    if name == "adamwr":
        return AdamWR(eta_max, lambda_norm)
    return keras.optimizers.AdamW(eta_max) if name == "adamw" else keras.optimizers.SGD(eta_max, momentum=0.9)


class TimeLeft(keras.callbacks.Callback):
    """Says after the first epoch how long the training will take."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        left = self.params["epochs"] - epoch - 1
        if epoch == 0 and left:
            minutes = (time.perf_counter() - self.began) * left / 60
            # The first epoch compiles, too.
            time_left = f"{minutes:.1f} minutes" if minutes >= 1 else f"{60 * minutes:.0f} seconds"
            print(f"At most {time_left} left, for {left} more epochs.", flush=True)


def cycle_table(cycles: list[dict[str, Any]], steps: int, lambda_norm: float | None = None) -> str:
    """A row per cycle: epochs counted from 1, first and last rate, AdamWR's decay per update, metrics at the end."""
    rows = []  # Some cells in two lines: so the table fits 80 columns.
    for cycle in cycles:
        epochs = f"{cycle['first_epoch'] + 1} to {cycle['last_epoch'] + 1}"
        row = {"cycle": cycle["index"] + 1, "epochs": epochs if cycle["complete"] else f"{epochs}\n(cut)"}
        row |= {"rate": f"{cycle['first_rate']:.2g}", "to": f"{cycle['last_rate']:.2g}"}
        if lambda_norm is not None:
            row["decay"] = f"{lambda_norm / (cycle['length'] * steps) ** 0.5:.2g}"
        metrics = {"loss": "loss", "accuracy": "acc.", "val_loss": "val\nloss", "val_accuracy": "val\nacc."}
        # None of a cycle that ended inside an epoch.
        rows.append({**row, **{head: f"{cycle[name]:.3f}" if name in cycle else "" for name, head in metrics.items()}})
    return str(tabulate(rows, headers="keys", disable_numparse=True))


if __name__ == "__main__":
    # Underscores, so that the flags are the paper's symbols: --T_0, --eta_max.
    try:
        main(tyro.cli(Options, use_underscores=True))
    except ValueError as error:
        sys.exit(f"error: {error}")
