"""Training on a frozen backbone: its features are computed once, the heads of all runs trained together.

A head is a dense layer. Those of `S` seeds and `K` schedules are one kernel of shape `(S, features, K, classes)`, and
an optimizer that works element by element moves each by its own schedule's learning rate, of shape `(K, 1)`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sgdr._checks import require
from keras_sgdr.data.augment import center_crop
from keras_sgdr.data.samples import Array, batches_of_epochs, dataset_of_epochs
from keras_sgdr.models import randomize_modules
from keras_sgdr.study.crops import crops
from keras_sgdr.study.spec import METRICS, Spec, values_of
from keras_sgdr.study.store import Metrics, Run
from keras_sgdr.study.trainer import VALIDATION_BATCH, TableSchedule

__all__ = ["train_heads"]

# Those whose update of an element depends on that element's gradients alone.
_ELEMENTWISE = tuple(
    getattr(keras.optimizers, name)
    for name in ("SGD", "Adam", "AdamW", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Lion", "Ftrl")
)


def train_heads(
    spec: Spec, model: Any, runs: Collection[Run], ended: Callable[[int], object] = lambda epochs: None
) -> dict[Run, Metrics]:
    """Train the heads of all these runs at once.

    Args:
        spec: What is trained.
        model: What `spec.build(0)` returned. Its last layer is the head.
        runs: Schedules and seeds. Where they are no full grid, the heads of the others are trained with them, for
            nothing.
        ended: Called with the epochs completed, as each ends.

    Returns:
        By run the values of each metric, one per epoch.

    Raises:
        ValueError: If the model is not one whose heads can be trained together.
    """
    head = _head_of(model)
    train, val = _features(spec, model, head)
    seeds = sorted({run.seed for run in runs})
    names = [name for name in spec.schedules if any(run.schedule == name for run in runs)]
    heads = _Heads(head, model.loss, train, val, _initial(model, head, seeds), len(names))
    rates = np.stack([spec.schedules[name].learning_rates(spec.epochs, spec.steps) for name in names], axis=1)
    heads.set_optimizer(model.optimizer, rates)
    metrics = heads.train(spec, seeds, ended, jit_compile=model.jit_compile, run_eagerly=model.run_eagerly)
    places = {run: (slice(None), seeds.index(run.seed), names.index(run.schedule)) for run in runs}
    return {run: {name: metrics[name][place].tolist() for name in METRICS} for run, place in places.items()}


def _head_of(model: Any) -> Any:
    """The model's last layer, if heads like it can be trained together."""
    head, optimizer = model.layers[-1], model.optimizer
    outputs = getattr(model, "outputs", None) or []
    rule = "The last layer of a model with a frozen backbone must be a `Dense`, which is the head."
    valid = isinstance(head, keras.layers.Dense) and len(outputs) == 1 and outputs[0] is head.output
    require(valid, rule, "last layer", head, "Build the model so, or train all of it: frozen=False.")
    rule = "A head that is trained with others must have neither regularizers nor constraints."
    valid = not any((head.kernel_regularizer, head.bias_regularizer, head.kernel_constraint, head.bias_constraint))
    require(valid, rule, "last layer", head, "Leave them out; for decay, take an optimizer with `weight_decay`.")
    rule = "Heads are trained together by an optimizer that works element by element, without clipping of norms or "
    rule += "moving averages, and not on the PyTorch backend, where Keras's optimizers take a single rate."
    valid = isinstance(optimizer, _ELEMENTWISE) and keras.config.backend() != "torch"
    valid = valid and not any((optimizer.clipnorm, optimizer.global_clipnorm, optimizer.use_ema))
    fix = "Compile with `keras.optimizers.SGD`, or train all of the model: frozen=False."
    require(valid, rule, "optimizer", optimizer, fix)
    return head


def _features(spec: Spec, model: Any, head: Any) -> tuple[Array, Array]:
    """The head's inputs for the training and for the validation samples, without augmentation."""
    (x, _), (x_val, _) = spec.data
    prepare = prepare_val = spec.prepare
    if prepare is None:
        _, prepare_val = crops(model.input_shape, x_val)
        prepare = prepare_val
        if x.ndim == 4:
            prepare = partial(_same_view, side=x_val.shape[1], size=model.input_shape[1])
    body = keras.Model(model.inputs, head.input)

    def computed(samples: Array, prepared: Any) -> Array:
        parts = [samples[begin : begin + VALIDATION_BATCH] for begin in range(0, len(samples), VALIDATION_BATCH)]
        return np.concatenate([body.predict_on_batch(prepared(part)) for part in parts]).astype("float32")

    return computed(x, prepare), computed(x_val, prepare_val)


def _same_view(images: Any, side: int, size: int) -> Any:
    """The centre that a crop of `size` shows of images of `side`, from images that may be larger."""
    cut = round(size * images.shape[1] / side)
    images = center_crop(images, cut)
    return images if cut == size else ops.image.resize(images, (size, size), "bilinear", antialias=True)


def _initial(model: Any, head: Any, seeds: Sequence[int]) -> list[list[Array]]:
    """The weights from which each seed's heads begin, drawn on the processor as those of `Spec.initial_weights` are."""
    weights = []
    for seed in seeds:
        with keras.device("cpu"):
            randomize_modules(model, 1, seed)
        weights.append(values_of(head.weights))
    return weights


class _Rates(TableSchedule):
    """Learning rates `(K, 1)` of an update, from a table `(updates, K)`."""

    def __call__(self, step: Any) -> Any:
        return ops.reshape(ops.take(self.table, step, axis=0), (-1, 1))


class _Mean(keras.metrics.Metric):
    """The mean over the samples for each head, shape `(S, K)`."""

    def __init__(self, shape: tuple[int, int], name: str) -> None:
        super().__init__(name=name)
        self._total = self.add_variable(shape, "zeros", name="total")
        self._count = self.add_variable((), "zeros", name="count")

    def update_state(self, values: Any) -> None:
        self._total.assign_add(ops.sum(values, axis=0))
        self._count.assign_add(ops.cast(ops.shape(values)[0], "float32"))

    def result(self) -> Any:
        return self._total / self._count


class _Heads(keras.Model):
    """All heads, from the numbers `(B, S)` of each seed's samples to outputs `(B, S, K, classes)`.

    Args:
        head: The layer whose copies they are.
        loss: The compiled model's.
        train: Features of the training samples.
        val: Features of the validation samples.
        initial: For each seed the weights of the layer.
        schedules: Number of schedules.
    """

    def __init__(
        self, head: Any, loss: Any, train: Array, val: Array, initial: list[list[Array]], schedules: int
    ) -> None:
        super().__init__(name="heads")
        self._activation = head.activation
        loss = keras.losses.get(loss)
        self._loss_of_samples = loss.call if isinstance(loss, keras.losses.Loss) else loss
        self._features = [keras.Variable(features, trainable=False) for features in (train, val)]
        self._grid = len(initial), schedules
        # Each seed's weights, `schedules` times side by side, before the last axis.
        stacked = [np.stack(weights) for weights in zip(*initial, strict=True)]
        self._weights_of_heads = [
            keras.Variable(np.repeat(weight[..., None, :], schedules, axis=-2)) for weight in stacked
        ]
        self.means = {name: _Mean(self._grid, name) for name in ("mean_loss", "accuracy")}
        self.built = True

    def set_optimizer(self, optimizer: Any, rates: Array) -> None:
        """Use this optimizer, with rates `(updates, K)`."""
        rate = _Rates(optimizer, rates.shape)
        rate.table.assign(rates)
        optimizer.learning_rate = rate
        self._optimizer_of_heads = optimizer

    def train(
        self, spec: Spec, seeds: Sequence[int], ended: Callable[[int], object], **compiling: bool
    ) -> dict[str, Array]:
        """Train them, compiled as said. Returns each metric as `(epochs, S, K)`."""
        (_, y), (_, y_val) = spec.data

        def epoch_arrays(epoch: int) -> tuple[Array, Array]:
            order = np.stack([spec.batches(seed, epoch)[0] for seed in seeds], axis=1)
            return order, y[order]

        all_samples = np.repeat(np.arange(len(y_val), dtype="int32")[:, None], len(seeds), axis=1)
        make = dataset_of_epochs if keras.config.backend() == "tensorflow" else batches_of_epochs
        self.compile(self._optimizer_of_heads, steps_per_execution=spec.steps, **compiling)
        history = self.fit(
            make(epoch_arrays, spec.epochs, spec.batch_size),
            epochs=spec.epochs,
            steps_per_epoch=spec.steps,
            validation_data=((all_samples,), y_val[all_samples]),
            validation_batch_size=VALIDATION_BATCH,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ended(epoch + 1))],
            shuffle=False,
            verbose=0,
        ).history
        names = {name: name.replace("loss", "mean_loss") for name in METRICS}
        return {
            name: np.stack([np.reshape(ops.convert_to_numpy(value), self._grid) for value in history[name_here]])
            for name, name_here in names.items()
        }

    def call(self, inputs: Any, training: bool = False) -> Any:
        features = ops.take(self._features[0 if training else 1], inputs[0], axis=0)
        kernel, *bias = self._weights_of_heads
        seeds, size, schedules, classes = kernel.shape
        flat = ops.reshape(kernel, (seeds, size, schedules * classes))
        outputs = ops.matmul(ops.transpose(features, (1, 0, 2)), flat)
        outputs = ops.reshape(ops.transpose(outputs, (1, 0, 2)), (-1, seeds, schedules, classes))
        return self._activation(outputs + bias[0] if bias else outputs)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        # Each head's gradient is that of its own mean over the batch.
        return ops.sum(ops.mean(self._of_samples(self._loss_of_samples, y, y_pred), axis=0))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        self.means["mean_loss"].update_state(self._of_samples(self._loss_of_samples, y, y_pred))
        self.means["accuracy"].update_state(self._of_samples(self._accuracy(y, y_pred), y, y_pred))
        return self.get_metrics_result()

    def _accuracy(self, y: Any, y_pred: Any) -> Any:
        """The function that Keras takes for "accuracy" with such labels and outputs."""
        if y_pred.shape[-1] == 1:
            return keras.metrics.binary_accuracy
        one_hot = len(y.shape) == 3 and y.shape[-1] == y_pred.shape[-1]
        return keras.metrics.categorical_accuracy if one_hot else keras.metrics.sparse_categorical_accuracy

    def _of_samples(self, function: Any, y: Any, y_pred: Any) -> Any:
        """A function of labels and outputs, for each sample and head: `(B, S, K)`."""
        seeds, schedules = self._grid
        y = ops.reshape(y, (-1, seeds, 1, *(tuple(y.shape[2:]) or (1,))))
        y = ops.repeat(y, schedules, axis=2)
        values = function(ops.reshape(y, (-1, y.shape[-1])), ops.reshape(y_pred, (-1, y_pred.shape[-1])))
        return ops.reshape(values, (-1, seeds, schedules))
