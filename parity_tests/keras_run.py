"""Runs in Keras on TensorFlow: `python -m parity_tests.keras_run CONFIG.json OUT.npz` (see `runs.py`)."""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from keras_sgdr import SGDR, Cycle, WarmRestarts
from keras_sgdr.cycles import FloatArray
from keras_sgdr.models import load_state_dict, resnet, state_dict
from keras_sgdr.optimizers import AdamWR, PyTorchSGD
from parity_tests.adamw import BETAS, epsilon
from parity_tests.batches import IMAGE_SIZE, Batch, Feed
from parity_tests.runs import Run, read_runs, write_traces
from parity_tests.weights import CHANNELS, initial_weights
from tests.callbacks.probe import values


@keras.saving.register_keras_serializable("parity_tests")
class TracedCrossEntropy(keras.losses.Loss):
    """Cross-entropy on logits that writes down, inside the compiled step, every loss and the rate then in force.

    Not `logs`, whose losses are running means. It runs before the optimizer, so iteration and rate are those of its own
    update. A validation writes where the next update will write over it.

    Args:
        updates: how many there will be.
    """

    def __init__(self, updates: int, name: str = "traced_cross_entropy") -> None:
        super().__init__(name=name)
        self.updates = updates
        self.losses = keras.Variable(np.zeros(updates + 1), trainable=False)
        self.rates = keras.Variable(np.zeros(updates + 1), trainable=False)
        # Iteration and rate of the optimizer; not the optimizer, which Keras would then save as a part of the loss.
        self.now: Callable[[], tuple[Any, Any]] | None = None

    def call(self, y_true: Any, y_pred: Any) -> Any:
        losses = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        assert self.now is not None
        iteration, rate = self.now()
        here = np.arange(self.updates + 1) == ops.cast(iteration, "int64")
        self.losses.assign(ops.where(here, ops.mean(losses), self.losses))
        self.rates.assign(ops.where(here, rate, self.rates))
        return losses

    def get_config(self) -> dict[str, Any]:
        return {"updates": self.updates, "name": self.name}


class OneUpdateLate(WarmRestarts):
    """The control of a schedule that is off by one update."""

    def learning_rates(self, epochs: int, steps_per_epoch: int, initial_epoch: int = 0) -> FloatArray:
        rates = super().learning_rates(epochs, steps_per_epoch)
        return np.concatenate([rates[:1], rates[:-1]])[initial_epoch * steps_per_epoch :]


class OneLength(WarmRestarts):
    """The control of a decay that is normalised by the length of the training, not at every restart by the cycle's."""

    def cycle_at(self, t: float) -> Cycle:
        return Cycle(0, 0.0, math.inf, t)


SCHEDULES = {"off_by_one": OneUpdateLate, "one_length": OneLength}
# Controls of the schedule and of the data, which reach the compiled step as numbers.
UNTRACED = {*SCHEDULES, "caffe", "swapped_images"}


def stream(batches: Callable[[], Iterator[Batch]], count: int, run: Run) -> Any:
    """Batches as a `tf.data.Dataset`, in the order in which they are produced."""
    images = tf.TensorSpec((None, IMAGE_SIZE, IMAGE_SIZE, 3), run.precision)
    data = tf.data.Dataset.from_generator(batches, output_signature=(images, tf.TensorSpec((None,), "int64")))
    return data.apply(tf.data.experimental.assert_cardinality(count))


def small_net() -> keras.Model:
    """The network of `torch_run.SmallNet`."""
    x = inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    for i, channels in enumerate(CHANNELS, 1):
        x = layers.ZeroPadding2D(1, name=f"conv{i}_pad")(x)
        x = layers.Conv2D(channels, 3, 2, use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"bn{i}")(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, name="fc")(x))


def spoiled(layer: Any, run: Run) -> Any:
    """A layer as the control has it."""
    config = layer.get_config()
    if run.control == "same_padding" and layer.name == "conv1_pad":
        config["padding"] = 0
    if run.control == "same_padding" and layer.name == "conv1":
        config["padding"] = "same"
    if run.control == "batchnorm_momentum" and isinstance(layer, layers.BatchNormalization):
        config["momentum"] = 0.1
    return type(layer).from_config(config)


def build(run: Run) -> keras.Model:
    """A network with weights of no account."""
    model = small_net() if run.net == "small" else resnet(50, classes=2, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3))
    if run.control in ("same_padding", "batchnorm_momentum"):
        model = keras.models.clone_model(model, clone_function=lambda layer: spoiled(layer, run))
    return model


def load_initial(model: keras.Model, run: Run) -> None:
    assert load_state_dict(model, initial_weights(run)) == []


def optimizer_for(run: Run) -> Any:
    decay = run.weight_decay or None
    if run.optimizer == "adamw":
        eps = epsilon("keras", mapped=run.control != "adamw_epsilon")
        return keras.optimizers.AdamW(run.eta_max, decay, *BETAS, epsilon=eps)
    if run.optimizer == "adamwr":
        return AdamWR(run.eta_max, run.weight_decay)  # with the paper's numbers on both sides: nothing to reconcile
    form = keras.optimizers.SGD if run.momentum_form == "keras" else PyTorchSGD
    return form(run.eta_max, momentum=run.momentum, nesterov=run.nesterov, weight_decay=decay)


def gradients(model: keras.Model, run: Run, feed: Feed) -> dict[str, Any]:
    """Of the first batch, in torchvision's names and layouts. The model loses its weights."""
    load_initial(model, run)
    images, labels = feed.batch(0, 0)
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    for variable, gradient in zip(
        model.trainable_variables,
        tape.gradient(loss, [variable.value for variable in model.trainable_variables]),
        strict=True,
    ):
        variable.assign(gradient)  # so that `state_dict` brings them into torchvision's layouts
    return {f"gradients/{name}": value for name, value in state_dict(model).items() if "running" not in name}


def fit(model: Any, run: Run, feed: Feed, initial_epoch: int, checkpoint: Path | None) -> tuple[Any, Any, Any, Any]:
    """Losses and rates of the updates, mean losses and accuracies of the validations."""
    loss = model.loss
    loss.now = lambda: (model.optimizer.iterations, model.optimizer.learning_rate)
    schedule = SCHEDULES.get(run.control or "", WarmRestarts)
    callbacks: list[Any] = [SGDR(schedule=schedule(run.T_0, run.T_mult, run.eta_max))]
    if checkpoint is not None:

        def save(epoch: int, logs: Any) -> None:
            if epoch + 1 == run.checkpoint:
                model.save(checkpoint)

        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=save))
    epochs = range(initial_epoch, run.epochs)
    history = model.fit(
        # One stream through all epochs, of which `fit` takes `steps` batches at a time.
        stream(lambda: itertools.chain.from_iterable(map(feed.training, epochs)), len(epochs) * feed.steps, run),
        steps_per_epoch=feed.steps,
        validation_data=stream(feed.validation, feed.validation_steps, run) if run.validation else None,
        epochs=run.epochs,
        initial_epoch=initial_epoch,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    ).history
    updates = slice(initial_epoch * feed.steps, run.epochs * feed.steps)
    losses, rates = (ops.convert_to_numpy(values)[updates] for values in (loss.losses, loss.rates))
    return losses, rates, history.get("val_loss", []), history.get("val_accuracy", [])


@lru_cache(maxsize=2)
def compiled(run: Run) -> tuple[keras.Model, list[Any]]:
    """The model of a run, and the values of its optimizer's variables before the first update.

    A ResNet takes TensorFlow long to trace, so runs that differ in nothing that is traced are given one and the same.
    """
    keras.utils.clear_session()
    model = build(run)
    # Without XLA, which on a CPU takes minutes to compile a ResNet and then is slower.
    model.compile(
        optimizer_for(run),
        TracedCrossEntropy(run.epochs * Feed(run).steps),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    return model, values(model.optimizer.variables)


def trace(run: Run) -> dict[str, Any]:
    keras.config.set_floatx(run.precision)
    feed = Feed(run)
    model, fresh = compiled(replace(run, control=None) if run.control in UNTRACED else run)
    found = gradients(model, run, feed) if run.gradients else {}
    load_initial(model, run)
    for variable, value in zip(model.optimizer.variables, fresh, strict=True):
        variable.assign(value)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint.keras") if run.checkpoint else None
        results = fit(model, run, feed, 0, checkpoint)
        found |= dict(zip(("losses", "rates", "val_losses", "val_accuracies"), results, strict=True))
        found |= {
            f"weights/{name}": t for name, t in state_dict(model).items() if name.startswith(run.tensors or ("-",))
        }
        if checkpoint is not None:
            resumed = keras.saving.load_model(checkpoint)
            found["resumed_losses"] = fit(resumed, run, feed, run.checkpoint, None)[0]
    return found


def main(config: Path, out: Path) -> None:
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    versions = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }
    found = {name: trace(run) | {"versions": json.dumps(versions)} for name, run in read_runs(config).items()}
    write_traces(out, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
