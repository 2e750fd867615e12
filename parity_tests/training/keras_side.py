"""Runs in Keras on TensorFlow."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray

from keras_sgdr import SGDR, Cycle, WarmRestarts
from keras_sgdr.models import load_state_dict, resnet, state_dict
from keras_sgdr.optimizers import AdamWR, PyTorchSGD
from parity_tests.processes import Arrays
from parity_tests.training.batches import IMAGE_SIZE, Batch, Feed
from parity_tests.training.controls import CONTROLS, NONE
from parity_tests.training.run import BETAS, EPSILON, Run, n_threads, runs_of, versions_of
from parity_tests.training.weights import CHANNELS, initial_weights
from tests.support.small_model import values

__all__ = ["arrays"]

MOST_UPDATES = 256  # of a run


def arrays(config: dict[str, Any]) -> Arrays:
    """The traces of runs: see `run.traces`."""
    threads = n_threads()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    versions = versions_of(keras, tf, np)
    results: dict[str, Any] = {}
    # Runs of one compiled model follow one another, the longest first: its step has room for the rates of the others.
    for name, run in sorted(runs_of(config), key=lambda item: (repr(Recipe.of(item[1])), -item[1].epochs)):
        results |= {f"{name}/{key}": value for key, value in trace(run).items()}
        results[f"{name}/versions"] = versions
    return results


# The model
# ------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """What a compiled model is made from: of a run, what does not reach the compiled step as numbers."""

    net: str
    precision: str
    optimizer: str
    momentum_form: str
    momentum: float
    nesterov: bool
    weight_decay: float
    alpha: float
    control: str

    @classmethod
    def of(cls, run: Run) -> Recipe:
        names = [field.name for field in fields(cls) if field.name not in ("alpha", "control")]
        # AdamWR computes with the highest rate; of the others `SGDR` replaces it.
        alpha = run.eta_max if run.optimizer == "adamwr" else 0.01
        control = run.control if CONTROLS[run.control].is_compiled else NONE.name
        return cls(**{name: getattr(run, name) for name in names}, alpha=alpha, control=control)


@lru_cache(maxsize=1)
def compiled(recipe: Recipe) -> tuple[keras.Model, list[Any]]:
    """A model, and the values of its optimizer's variables before the first update.

    A ResNet takes TensorFlow long to trace, so runs of one recipe are given one and the same.
    """
    keras.utils.clear_session(free_memory=False)
    model = network(recipe)
    # Without XLA, which on a CPU takes minutes to compile a ResNet and then is slower.
    model.compile(
        optimizer_for(recipe),
        TracedCrossEntropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    return model, values(model.optimizer.variables)


def network(recipe: Recipe) -> keras.Model:
    """A network with weights of no account."""
    model = small_net() if recipe.net == "small" else resnet(50, classes=2, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3))
    changes = CONTROLS[recipe.control].layers

    def changed(layer: Any) -> Any:
        change = changes.get(layer.name, {}) | changes.get(type(layer).__name__, {})
        return type(layer).from_config(layer.get_config() | change)

    return keras.models.clone_model(model, clone_function=changed) if changes else model


def small_net() -> keras.Model:
    """The network of `torch_side.SmallNet`."""
    x = inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    for i, channels in enumerate(CHANNELS, 1):
        x = layers.ZeroPadding2D(1, name=f"conv{i}_pad")(x)
        x = layers.Conv2D(channels, 3, 2, use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"bn{i}")(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, name="fc")(x))


def optimizer_for(recipe: Recipe) -> Any:
    decay = recipe.weight_decay or None
    if recipe.optimizer == "adamw":
        settings = {"epsilon": EPSILON["keras"], **CONTROLS[recipe.control].settings}
        return keras.optimizers.AdamW(recipe.alpha, decay, *BETAS, **settings)
    if recipe.optimizer == "adamwr":
        return AdamWR(recipe.alpha, recipe.weight_decay)  # with the paper's numbers on both sides: nothing to reconcile
    form = keras.optimizers.SGD if recipe.momentum_form == "keras" else PyTorchSGD
    return form(recipe.alpha, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=decay)


@keras.saving.register_keras_serializable("parity_tests")
class TracedCrossEntropy(keras.losses.Loss):
    """Cross-entropy on logits that writes down, inside the compiled step, every loss and the rate then in force.

    Not `logs`, whose losses are running means. It runs before the optimizer, so iteration and rate are those of its own
    update. A validation writes where the next update will write over it.
    """

    def __init__(self, name: str = "traced_cross_entropy") -> None:
        super().__init__(name=name)
        self.losses = keras.Variable(np.zeros(MOST_UPDATES + 1), trainable=False)
        self.rates = keras.Variable(np.zeros(MOST_UPDATES + 1), trainable=False)
        # Iteration and rate of the optimizer; not the optimizer, which Keras would then save as a part of the loss.
        self.now: Callable[[], tuple[Any, Any]] | None = None

    def call(self, y_true: Any, y_pred: Any) -> Any:
        losses = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        assert self.now is not None
        iteration, rate = self.now()
        here = np.arange(MOST_UPDATES + 1) == ops.cast(iteration, "int64")
        self.losses.assign(ops.where(here, ops.mean(losses), self.losses))
        self.rates.assign(ops.where(here, rate, self.rates))
        return losses

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


# The training
# ------------------------------------------------------------------------


def trace(run: Run) -> dict[str, Any]:
    keras.config.set_floatx(run.precision)
    feed = Feed(run)
    assert run.epochs * feed.steps <= MOST_UPDATES
    model, fresh = compiled(Recipe.of(run))
    weights = initial_weights(run)
    recorded = gradients(model, weights, feed) if run.inspected else {}
    reset(model, weights, fresh)
    with tempfile.TemporaryDirectory() as folder:
        # A new ResNet would be traced again: the weights and the optimizer's state go into the one that is there.
        whole = run.net == "small"
        checkpoint = Path(folder, "checkpoint.keras" if whole else "checkpoint.weights.h5")
        inspect, save = Inspect(run.inspected), SaveAfter(run.checkpoint, checkpoint)
        recorded |= fit(model, run, feed, [inspect, save]) | inspect.weights
        if run.checkpoint:
            if whole:
                model = keras.saving.load_model(checkpoint)
            else:
                reset(model, weights, fresh)
                model.load_weights(checkpoint)
            recorded["resumed_losses"] = fit(model, replace(run, validation=0), feed, [], run.checkpoint)["losses"]
    return recorded


def reset(model: Any, weights: dict[str, Any], fresh: list[Any]) -> None:
    """Give a model its weights, and its optimizer the values that it had before any update."""
    assert load_state_dict(model, weights) == []
    for variable, value in zip(model.optimizer.variables, fresh, strict=True):
        variable.assign(value)


def gradients(model: keras.Model, weights: dict[str, Any], feed: Feed) -> dict[str, Any]:
    """Of the first batch, in torchvision's names and layouts. The model does not keep the weights."""
    load_state_dict(model, weights)
    images, labels = feed.batch(0, 0)
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    variables = model.trainable_variables
    computed = tape.gradient(loss, [variable.value for variable in variables])
    for variable, gradient in zip(variables, computed, strict=True):
        variable.assign(gradient)  # so that `state_dict` brings them into torchvision's layouts
    return {f"gradients/{name}": value for name, value in state_dict(model).items() if "running" not in name}


def fit(
    model: Any, run: Run, feed: Feed, callbacks: list[keras.callbacks.Callback], initial_epoch: int = 0
) -> dict[str, Any]:
    """Train to the end of the run; losses and rates of the updates, mean losses and accuracies of the validations."""
    loss = model.loss
    loss.now = lambda: (model.optimizer.iterations, model.optimizer.learning_rate)
    epochs = range(initial_epoch, run.epochs)
    history = model.fit(
        # One stream through all epochs, of which `fit` takes `steps` batches at a time.
        stream(lambda: itertools.chain.from_iterable(map(feed.training, epochs)), len(epochs) * feed.steps, run),
        steps_per_epoch=feed.steps,
        validation_data=stream(feed.validation, feed.validation_steps, run) if run.validation else None,
        epochs=run.epochs,
        initial_epoch=initial_epoch,
        callbacks=[SGDR(schedule=schedule_for(run), rate_multipliers=run.multipliers), *callbacks],
        shuffle=False,
        verbose=0,
    ).history
    updates = slice(initial_epoch * feed.steps, run.epochs * feed.steps)
    losses, rates = (ops.convert_to_numpy(variable)[updates] for variable in (loss.losses, loss.rates))
    validation = {"val_losses": history.get("val_loss", []), "val_accuracies": history.get("val_accuracy", [])}
    return {"losses": losses, "rates": rates, **validation}


def schedule_for(run: Run) -> WarmRestarts:
    """The schedule, as the run's control has it."""
    control = CONTROLS[run.control]

    class Controlled(WarmRestarts):
        def learning_rates(self, epochs: int, steps_per_epoch: int, initial_epoch: int = 0) -> NDArray[np.float64]:
            rates = control.rates(super().learning_rates(epochs, steps_per_epoch))
            return rates[initial_epoch * steps_per_epoch :]

        def cycles_from(self, update: int, steps_per_epoch: int = 1) -> Iterator[Cycle]:
            return super().cycles_from(update, steps_per_epoch) if control.has_cycles else iter(())

        def cycles(self, steps_per_epoch: int = 1) -> Iterator[Cycle]:
            return self.cycles_from(0, steps_per_epoch)

    return (WarmRestarts if control is NONE else Controlled)(run.T_0, run.T_mult, run.eta_max)


def stream(batches: Callable[[], Iterator[Batch]], count: int, run: Run) -> Any:
    """Batches as a `tf.data.Dataset`, in the order in which they are produced."""
    images = tf.TensorSpec((None, IMAGE_SIZE, IMAGE_SIZE, 3), run.precision)
    data = tf.data.Dataset.from_generator(batches, output_signature=(images, tf.TensorSpec((None,), "int64")))
    return data.apply(tf.data.experimental.assert_cardinality(count))


class SaveAfter(keras.callbacks.Callback):
    """Saves the model once, or where the file is one of weights its state, after so many epochs."""

    def __init__(self, epochs: int, path: Path) -> None:
        super().__init__()
        self.epochs, self.path = epochs, path

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 == self.epochs:
            (self.model.save if self.path.suffix == ".keras" else self.model.save_weights)(self.path)


class Inspect(keras.callbacks.Callback):
    """Keeps the weights after so many updates, in torchvision's names and layouts; 0 for never."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self.updates = updates
        self.weights: dict[str, Any] = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.updates and int(self.model.optimizer.iterations) == self.updates:
            self.weights = {f"weights/{name}": array.copy() for name, array in state_dict(self.model).items()}
