"""Our optimizers on this process's backend: their numbers; of PyTorchSGD all that Keras asks of an optimizer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from keras_sgdr.optimizers import PyTorchSGD
from tests.callbacks.probe import trained_embedding

Array = NDArray[Any]


def updates(optimizer: Any, gradients: list[float], start: float = 0.0) -> float:
    """A weight of two elements, both at `start`, after one `apply` a gradient."""
    variable = keras.Variable(np.full(2, start, "float32"))
    for gradient in gradients:
        optimizer.apply([keras.ops.full((2,), gradient, "float32")], [variable])
    return float(keras.ops.convert_to_numpy(variable)[0])


def small_model(optimizer: Any, **compiling: Any) -> Any:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(optimizer, loss="mse", **compiling)
    return model


def fit(model: Any, epochs: int = 1, batch_size: int = 4) -> list[Array]:
    """The weights after training on 8 fixed samples in a fixed order."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 3)).astype("float32"), random.normal(size=(8, 1)).astype("float32")
    model.fit(x, y, epochs=epochs, batch_size=batch_size, shuffle=False, verbose=0)
    return [np.asarray(weight) for weight in model.get_weights()]


def assert_close(ours: list[Array], theirs: list[Array]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        # float32, weights of order 1, few updates: ten units in the last place, for sums in another order.
        np.testing.assert_allclose(one, other, rtol=0, atol=10 * float(np.finfo(np.float32).eps))


# The numbers


@pytest.mark.parametrize(("optimizer_class", "end"), [(PyTorchSGD, -0.119), (keras.optimizers.SGD, -0.200)])
def test_witness_of_the_two_momentum_forms(optimizer_class: Any, end: float) -> None:
    optimizer = optimizer_class(keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.01]), momentum=0.9)
    assert updates(optimizer, [1.0, 1.0]) == pytest.approx(end, rel=1e-6)  # three float32 roundings


def test_equals_keras_sgd_while_the_rate_is_constant() -> None:
    ours = fit(small_model(PyTorchSGD(0.1, momentum=0.9, nesterov=True)), epochs=5)
    assert_close(ours, fit(small_model(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)), epochs=5))


def test_weight_decay_is_coupled() -> None:
    # Through the momentum buffer: g = 0 + 0.5 p. Decoupled decay would give 1 - 0.05 = 0.95, then 0.9025.
    one = updates(PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5), [0.0], start=1.0)
    two = updates(PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5), [0.0, 0.0], start=1.0)
    assert one == pytest.approx(0.95, rel=1e-6)
    assert two == pytest.approx(0.95 - 0.1 * (0.9 * 0.5 + 0.5 * 0.95), rel=1e-6)


# What Keras does with an optimizer


def test_excluded_variables_do_not_decay() -> None:
    plain = fit(small_model(PyTorchSGD(0.1, momentum=0.9)))
    optimizer = PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["kernel", "bias"])
    assert_close(fit(small_model(optimizer)), plain)
    decayed = fit(small_model(PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5)))
    assert np.abs(decayed[0] - plain[0]).max() > 0.01
    optimizer = PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    biases_only = fit(small_model(optimizer), batch_size=8)
    all_decay = fit(small_model(PyTorchSGD(0.1, momentum=0.9, weight_decay=0.5)), batch_size=8)
    assert_close(biases_only[::2], all_decay[::2])  # one update: kernels do not feel what the biases did


def test_gradient_accumulation_equals_the_larger_batch() -> None:
    settings: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    accumulated = fit(small_model(PyTorchSGD(0.1, gradient_accumulation_steps=2, **settings)), 3, batch_size=4)
    assert_close(accumulated, fit(small_model(PyTorchSGD(0.1, **settings)), 3, batch_size=8))


def test_loss_scale_does_not_change_the_update() -> None:
    settings: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.1}
    plain = fit(small_model(PyTorchSGD(0.1, **settings)), epochs=2)
    # A scale that is a power of two only shifts exponents.
    scaled = keras.optimizers.LossScaleOptimizer(PyTorchSGD(0.1, **settings), initial_scale=2.0**10)
    assert_close(fit(small_model(scaled), epochs=2), plain)
    assert_close(fit(small_model(PyTorchSGD(0.1, loss_scale_factor=2.0**10, **settings)), epochs=2), plain)


def test_loss_scale_optimizer_skips_a_step_that_is_not_finite() -> None:
    def train(optimizer: Any, targets: list[float]) -> list[Array]:
        model = small_model(optimizer)
        x, y = np.ones((len(targets), 3), "float32"), np.array(targets, "float32")[:, None]
        model.fit(x, y, batch_size=1, shuffle=False, verbose=0)
        return [np.asarray(weight) for weight in model.get_weights()]

    skipping = keras.optimizers.LossScaleOptimizer(PyTorchSGD(0.1, momentum=0.9), initial_scale=4.0)
    expected = train(PyTorchSGD(0.1, momentum=0.9), [1.0, -1.0])
    assert_close(train(skipping, [1.0, float("inf"), -1.0]), expected)


def test_works_inside_multi_optimizer() -> None:
    ours = PyTorchSGD(0.1, momentum=0.9)
    multi = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(ours))
    assert_close(fit(small_model(multi), epochs=3), fit(small_model(PyTorchSGD(0.1, momentum=0.9)), epochs=3))


def test_takes_the_sparse_gradient_of_an_embedding() -> None:
    ours, theirs = PyTorchSGD(0.1, momentum=0.9), keras.optimizers.SGD(0.1, momentum=0.9)
    assert_close(trained_embedding(ours), trained_embedding(theirs))


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
    assert updates(optimizer, [1.0]) == pytest.approx(-0.1, rel=1e-6)
    assert [variable.name for variable in optimizer.variables] == ["iteration", "learning_rate"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"momentum": -0.5},
            "`momentum` must be at least 0. Received: momentum=-0.5. Pass a number such as 0.9.",
        ),
        (
            {"nesterov": True},
            "`nesterov=True` needs momentum. Received: momentum=0.0. Pass a number such as 0.9.",
        ),
        (
            {"weight_decay": -1.0},
            "`weight_decay` must be at least 0. Received: weight_decay=-1.0. Pass 0 for none.",
        ),
    ],
)
def test_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        PyTorchSGD(0.1, **settings)
