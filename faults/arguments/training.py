"""The callbacks, the optimizers and the range test, and a training of two epochs with them."""

from __future__ import annotations

import itertools
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faults.arguments.schedules import LENGTHS, RATES, check_rates
from faults.arguments.target import FLAGS, NASTY, Target, Used, nothing
from faults.trials import Fault
from keras_sgdr import (
    SGDR,
    CycleAverage,
    CycleCallback,
    CycleEarlyStopping,
    SnapshotCheckpoint,
    StepDecay,
    WarmRestarts,
    find_learning_rate,
)
from keras_sgdr.optimizers import AdamWR, PyTorchSGD

__all__ = ["TARGETS", "folder", "samples", "small_model"]

RATE, EPOCHS, STEPS = 0.05, 2, 3
_folders = itertools.count()


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def folder() -> Path:
    """A folder that is not there yet."""
    return Path(_root().name) / str(next(_folders))


@cache
def samples() -> tuple[Any, Any]:
    """Samples of two classes, for three batches of four."""
    numbers = np.random.default_rng(0)
    return numbers.normal(size=(12, 3)).astype("float32"), numbers.integers(2, size=12)


@cache
def small_model() -> Any:
    """A compiled classifier."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss=loss, metrics=["accuracy"])
    return model


def fit(*callbacks: Any) -> Any:
    """Train the small model, which has its weights and its rate again afterwards."""
    model = small_model()
    before = model.get_weights()
    options = {"epochs": EPOCHS, "batch_size": 4, "shuffle": False, "verbose": 0, "validation_data": samples()}
    try:
        return model.fit(*samples(), callbacks=list(callbacks), **options)
    finally:
        model.set_weights(before)
        if float(model.optimizer.learning_rate) != float(np.float32(RATE)):
            raise Fault("wrong", f"the optimizer has the rate {float(model.optimizer.learning_rate)} afterwards")


def make_anew(callback: Any) -> Any:
    """The callback from its settings, through JSON."""
    return type(callback).from_config(json.loads(json.dumps(callback.get_config())))


def use_settings(used: Used) -> None:
    """See that the settings of the callback make another like it."""
    repr(used.made.schedule)
    config = used.made.get_config()
    if (again := make_anew(used.made).get_config()) != config:
        raise Fault("wrong", f"{again} from {config}")


def use_sgdr(used: Used) -> None:
    """See that the callback applies the rates that its schedule gives."""
    use_settings(used)
    callback: SGDR = used.made
    if callback.optimizer is not None:
        callback.optimizer = small_model().optimizer
    history = fit(callback)
    steps = 1 if callback.per == "epoch" else STEPS * callback.updates_per_batch
    if steps != callback.rates_per_epoch:
        return  # With several updates a batch the rates are on a finer grid: refused above, or not of this model.
    expected = callback.schedule.learning_rates(EPOCHS, callback.rates_per_epoch)
    check_rates(expected, callback.schedule)
    applied = callback.rates if callback.per == "batch" else callback.rates[:: len(callback.rates) // EPOCHS]
    if not np.array_equal(applied, expected.astype("float32")):
        raise Fault("wrong", f"{applied} was applied, not {expected}")
    if history.history["learning_rate"] != [float(applied[len(applied) // 2 - 1]), float(applied[-1])]:
        raise Fault("wrong", f"{history.history['learning_rate']} was logged, {applied} applied")


def use_callback(used: Used) -> None:
    """Train with a callback that follows the cycles."""
    fit(SGDR(1, 1), used.made)


def use_optimizer(used: Used) -> None:
    """Make an update by a gradient and one by none, and see that small arguments give finite weights."""
    optimizer = used.made
    if not callable(used.given.get("learning_rate")):  # Keras's own rule for what is called.
        type(optimizer).from_config(json.loads(json.dumps(optimizer.get_config())))
    if isinstance(optimizer, AdamWR):
        optimizer.cycle_updates = 10
    variables = [keras.Variable(np.ones(3, "float32")), keras.Variable(np.ones(2, "float32"))]
    gradients = [keras.ops.convert_to_tensor([0.5, -1.0, 0.0]), keras.ops.zeros(2)]
    for _ in range(2):
        optimizer.apply(gradients, variables)
    arguments = [float(value) for value in used.given.values() if isinstance(value, int | float | np.number)]
    weights = np.concatenate([keras.ops.convert_to_numpy(each) for each in variables])
    if not np.isfinite(weights).all() and all(abs(value) < 10 for value in arguments):
        raise Fault("wrong", f"weights {weights}")
    if not np.isfinite(float(optimizer.learning_rate)):
        raise Fault("wrong", f"the rate {float(optimizer.learning_rate)}")


def find_rate(
    optimizer: Any = None,
    rate_multipliers: Any = None,
    eta_min: Any = 1e-4,
    eta_max: Any = 10.0,
    updates: Any = 20,
    batch_size: Any = 4,
    smoothing: Any = 0.9,
    seed: Any = 0,
) -> None:
    """`find_learning_rate` for the small model."""
    options = {"eta_min": eta_min, "eta_max": eta_max, "updates": updates, "smoothing": smoothing, "seed": seed}
    options |= {"optimizer": optimizer, "rate_multipliers": rate_multipliers, "batch_size": batch_size}
    result = find_learning_rate(small_model(), samples(), **options)
    str(result)
    if not all(np.isfinite(each).all() for each in (result.rates, result.losses, result.smoothed_losses)):
        raise Fault("wrong", str(result))


SETTINGS = {
    **LENGTHS,
    **RATES,
    "per": ("batch", "batch", "epoch"),
    "steps_per_epoch": (None, 3, 3.0, np.int64(3)),
    "updates_per_batch": (1, 1, 1.0, "1", 2),
    "rate_multipliers": (None, None, {"*": 0.5}, {"dense": 1, "kernel": np.float32(2)}),
    "unfreeze": (None, None, {1: "*"}, {1: ["dense"]}),
    "optimizer": (None,),
    "schedule": (None, None, None, WarmRestarts(1, 1, 0.1), StepDecay(0.1, 1)),
    "verbose": (0,),
}
FOLLOWING = {
    "monitor": ("val_loss", "loss", "val_accuracy"),
    "mode": ("auto", "min", "max"),
    "sgdr": (None,),
    "verbose": (0,),
}
# What is no `SGDR` of the `fit`, and no number either.
NO_SGDR = (SGDR(1, 1), StepDecay(0.1), "SGDR", 0, object())
OPTIMIZERS: tuple[Any, ...] = (
    keras.optimizers.SGD(0.1),
    [keras.optimizers.Adam()],
    [],
    "sgd",
    0,
    keras.optimizers.SGD,
    object(),
)
ODD = {
    # What an optimizer is to call is called by Keras alone.
    "learning_rate": [value for value in NASTY if value is not nothing],
    "verbose": FLAGS,
    "optimizer": OPTIMIZERS,
    "sgdr": NO_SGDR,
    "resume": FLAGS,
    "nesterov": FLAGS,
}
DECAYS = (0.0, 0.5, 0.9, 0.999)
RATES_OF_OPTIMIZERS = (0.1, 0.001, np.float32(0.01), 1)


def _checkpoint(
    directory: Any,
    sgdr: Any = None,
    keep: Any = None,
    monitor: Any = "val_loss",
    mode: Any = "auto",
    *,
    resume: Any = False,
    verbose: Any = 0,
) -> SnapshotCheckpoint:
    made = SnapshotCheckpoint(directory, sgdr, keep, monitor, mode, resume=resume, verbose=verbose)
    made.directory = folder()  # Whatever path it was: here the harness writes.
    return made


TARGETS = (
    Target("SGDR", SGDR, SETTINGS, 450, use_settings, ODD),
    Target("SGDR in fit", SGDR, SETTINGS, 250, use_sgdr, ODD),
    Target(
        "SnapshotCheckpoint",
        _checkpoint,
        {
            **FOLLOWING,
            "directory": ("snapshots", Path("runs", "one"), "ä b"),
            "keep": (None, 1, 3, np.int64(2), ("last", 1), ("best", 2)),
            "resume": (False, True),
        },
        200,
        use_callback,
        ODD,
        SnapshotCheckpoint,
    ),
    Target(
        "CycleEarlyStopping",
        CycleEarlyStopping,
        {
            **FOLLOWING,
            "patience": (1, 3, np.int64(2)),
            "min_delta": (0, 0.0, 0.1),
            "restore_best_weights": (True, False),
        },
        150,
        use_callback,
        {**ODD, "restore_best_weights": FLAGS},
    ),
    Target(
        "CycleAverage",
        CycleAverage,
        {
            **FOLLOWING,
            "monitor": (None, "val_loss", "val_accuracy"),
            "data": (None, samples()[0]),
            "batch_size": (4, np.int64(12)),
        },
        150,
        use_callback,
        {**ODD, "data": (None,)},
    ),
    Target("CycleCallback", CycleCallback, {"sgdr": (None,)}, 20, use_callback, ODD),
    Target(
        "PyTorchSGD",
        PyTorchSGD,
        {
            "learning_rate": RATES_OF_OPTIMIZERS,
            "momentum": DECAYS,
            "nesterov": (False, False, True),
            "weight_decay": (0.0, None, 1e-4),
        },
        250,
        use_optimizer,
        ODD,
    ),
    Target(
        "AdamWR",
        AdamWR,
        {
            "learning_rate": RATES_OF_OPTIMIZERS,
            "lambda_norm": (0.025, 0, 0.1),
            "beta_1": DECAYS,
            "beta_2": DECAYS,
            "epsilon": (1e-8, 1e-7, 1),
            "eta_max": (None, 0.001, 1),
        },
        250,
        use_optimizer,
        ODD,
    ),
    Target(
        "find_learning_rate",
        find_rate,
        {
            "optimizer": (None,),
            "rate_multipliers": SETTINGS["rate_multipliers"],
            "eta_min": (1e-6, 1e-4),
            "eta_max": (10.0, 1),
            "updates": (20, 25, np.int64(30)),
            "batch_size": (4, 32),
            "smoothing": (0.9, 0.5, 0),
            "seed": (0, 1, np.int64(2)),
        },
        100,
        odd=ODD,
        of=find_learning_rate,
    ),
)
