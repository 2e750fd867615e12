"""PyTorchSGD on this process's backend: its numbers, and what Keras does with an optimizer. For AdamWR see there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from keras_sgdr.optimizers import AdamWR, PyTorchSGD

Array = NDArray[Any]

GRADIENTS = [1.0, -0.5, 0.25, 2.0]
SETTINGS: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}


def apply(optimizer: Any, gradients: Sequence[float], start: float = 0.0) -> Array:
    """Two weights of two elements each, named kernel and bias and all at `start`, after one update per gradient."""
    variables = [keras.Variable(np.full(2, start, "float32"), name=name) for name in ("kernel", "bias")]
    for gradient in gradients:
        optimizer.apply([keras.ops.full((2,), gradient, "float32") for _ in variables], variables)
    weights = np.array([keras.ops.convert_to_numpy(variable) for variable in variables])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    return weights[:, 0]


def small_model(optimizer: Any) -> Any:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(optimizer, loss="mse", jit_compile=False if keras.config.backend() == "tensorflow" else "auto")
    return model


def fit(model: Any, epochs: int = 1) -> list[Array]:
    """The weights after training on 8 fixed samples in a fixed order."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 3)).astype("float32"), random.normal(size=(8, 1)).astype("float32")
    model.fit(x, y, epochs=epochs, batch_size=4, shuffle=False, verbose=0)
    return [np.asarray(weight) for weight in model.get_weights()]


def assert_close(ours: Iterable[Array], theirs: Iterable[Array]) -> None:
    for weight, expected in zip(ours, theirs, strict=True):
        # float32, weights of order 1, few updates: ten units in the last place, for sums in another order.
        np.testing.assert_allclose(weight, expected, rtol=0, atol=10 * float(np.finfo(np.float32).eps))


# The numbers


@pytest.mark.parametrize(("optimizer_class", "end"), [(PyTorchSGD, -0.119), (keras.optimizers.SGD, -0.200)])
def test_witness_of_the_two_momentum_forms(optimizer_class: Any, end: float) -> None:
    optimizer = optimizer_class(keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.01]), momentum=0.9)
    assert apply(optimizer, [1.0, 1.0]) == pytest.approx(end, rel=1e-6)  # three float32 roundings


def test_equals_keras_sgd_while_the_rate_is_constant() -> None:
    ours, theirs = (kind(0.1, momentum=0.9, nesterov=True) for kind in (PyTorchSGD, keras.optimizers.SGD))
    assert_close(apply(ours, GRADIENTS), apply(theirs, GRADIENTS))


def test_weight_decay_is_coupled() -> None:
    # Through the momentum buffer: g = 0 + 0.5 p. Decoupled decay would give 1 - 0.05 = 0.95, then 0.9025.
    first = apply(PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5), [0.0], start=1.0)
    second = apply(PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5), [0.0, 0.0], start=1.0)
    assert first == pytest.approx(0.95, rel=1e-6)
    assert second == pytest.approx(0.95 - 0.1 * (0.9 * 0.5 + 0.5 * 0.95), rel=1e-6)


# What Keras does with an optimizer


def test_excluded_variables_do_not_decay() -> None:
    optimizer = PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    kernel, bias = apply(optimizer, GRADIENTS, start=1.0)
    plain = apply(PyTorchSGD(0.1, momentum=0.9), GRADIENTS, start=1.0)
    decayed = apply(PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5), GRADIENTS, start=1.0)
    assert_close([kernel, bias], [decayed[0], plain[1]])
    assert np.abs(decayed - plain).min() > 0.01


def test_gradient_accumulation_equals_the_larger_batch() -> None:
    accumulated = apply(PyTorchSGD(0.1, gradient_accumulation_steps=2, **SETTINGS), GRADIENTS, start=1.0)
    assert_close(accumulated, apply(PyTorchSGD(0.1, **SETTINGS), [0.25, 1.125], start=1.0))


def test_loss_scale_does_not_change_the_update() -> None:
    # A scale that is a power of two only shifts exponents.
    scaled = [2.0**10 * gradient for gradient in GRADIENTS]
    optimizer = PyTorchSGD(0.1, loss_scale_factor=2.0**10, **SETTINGS)
    assert_close(apply(optimizer, scaled, start=1.0), apply(PyTorchSGD(0.1, **SETTINGS), GRADIENTS, start=1.0))


def test_loss_scale_optimizer_skips_a_step_that_is_not_finite() -> None:
    """And otherwise does not change the update."""

    def train(optimizer: Any, targets: list[float]) -> list[Array]:
        model = small_model(optimizer)
        x, y = np.ones((len(targets), 3), "float32"), np.array(targets, "float32")[:, None]
        model.fit(x, y, batch_size=1, shuffle=False, verbose=0)
        return [np.asarray(weight) for weight in model.get_weights()]

    skipping = keras.optimizers.LossScaleOptimizer(PyTorchSGD(0.1, **SETTINGS), initial_scale=4.0)
    assert_close(train(skipping, [1.0, float("inf"), -1.0, 0.5]), train(PyTorchSGD(0.1, **SETTINGS), [1.0, -1.0, 0.5]))


def test_works_inside_multi_optimizer() -> None:
    multi = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(PyTorchSGD(0.1, momentum=0.9)))
    assert_close(apply(multi, GRADIENTS), apply(PyTorchSGD(0.1, momentum=0.9), GRADIENTS))


@pytest.mark.tensorflow  # Elsewhere the gradient of an embedding is dense.
@pytest.mark.parametrize("make", [partial(PyTorchSGD, 0.1, momentum=0.9), partial(AdamWR, 0.1, lambda_norm=0)])
def test_takes_the_sparse_gradient_of_an_embedding(make: Callable[[], Any]) -> None:
    import tensorflow as tf

    sparse, dense = keras.Variable(np.ones((3, 2))), keras.Variable(np.ones((3, 2)))
    slices = tf.IndexedSlices(tf.constant([[1.0, -2.0], [0.5, 0.25]]), tf.constant([0, 2]), tf.constant([3, 2]))
    for variable, gradient in ((sparse, slices), (dense, tf.convert_to_tensor(slices))):
        optimizer = make()
        for _ in range(3):
            optimizer.apply([gradient], [variable])
    assert_close([keras.ops.convert_to_numpy(sparse)], [keras.ops.convert_to_numpy(dense)])


def test_config_round_trip() -> None:
    optimizer = PyTorchSGD(0.05, momentum=0.8, nesterov=True, weight_decay=0.01, clipnorm=1.0, name="mine")
    config = keras.optimizers.serialize(optimizer)
    assert config["registered_name"] == "keras_sgdr>PyTorchSGD"
    copy = keras.optimizers.deserialize(config)
    assert type(copy) is type(optimizer)
    assert copy.get_config() == optimizer.get_config()
    assert (copy.momentum, copy.nesterov, copy.weight_decay) == (0.8, True, 0.01)


def test_saved_model_trains_on_with_its_momentum(tmp_path: Path) -> None:
    model = small_model(PyTorchSGD(0.1, momentum=0.9, weight_decay=0.01))
    fit(model, epochs=2)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert_close(fit(restored, epochs=2), fit(model, epochs=2))


def test_keeps_no_buffer_without_momentum() -> None:
    optimizer = PyTorchSGD(0.1)
    assert apply(optimizer, [1.0]) == pytest.approx(-0.1, rel=1e-6)
    assert [variable.name for variable in optimizer.variables] == ["iteration", "learning_rate"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"momentum": -0.5},
            "`momentum` must be a finite number, 0 or more. Received: momentum=-0.5. Pass a number such as 0.9, or 0",
        ),
        (
            {"momentum": None},
            "`momentum` must be a finite number, 0 or more. Received: momentum=None. Pass a number such as 0.9, or 0",
        ),
        (
            {"nesterov": True},
            "`momentum` must be positive where `nesterov` is True. Received: momentum=0.0. Pass a number such as 0.9.",
        ),
        (
            {"weight_decay": -1.0},
            "`weight_decay` must be a finite number, 0 or more. Received: weight_decay=-1.0. Pass 0 for none.",
        ),
    ],
)
def test_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        PyTorchSGD(0.1, **settings)


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf"), None, "0.1", True], ids=repr)
def test_refuses_what_is_no_rate(rate: Any) -> None:
    message = f"`learning_rate` must be a finite number, 0 or more. Received: learning_rate={rate!r}. Pass a float such"
    with pytest.raises(ValueError, match=re.escape(message)):
        PyTorchSGD(rate)
