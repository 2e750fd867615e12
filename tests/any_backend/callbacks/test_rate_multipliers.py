"""Layers with rates of their own: the schedule's times a multiplier, for every optimizer of Keras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR
from keras_sgdr.optimizers import AdamWR, PyTorchSGD
from tests.support.optimizers import scaled
from tests.support.probe import (
    COMPILED,
    EPOCHS,
    EXECUTIONS,
    RATE,
    STEPS,
    Applied,
    Array,
    Probe,
    data,
    gradient_is_target,
    named_probes,
    planned,
    sgdr,
)
from tests.support.small_model import assert_equal, small_data, small_model, train, values

LAYERS = ("conv5_block1", "conv5_block2", "head", "stem")
PATTERNS = {"head": 1.0, "conv5": 0.3, "*": 0.1}
MULTIPLIER = {"conv5_block1": 0.3, "conv5_block2": 0.3, "head": 1.0, "stem": 0.1}


def probes(optimizer: Any = None, **compiling: Any) -> Any:
    return named_probes(LAYERS, optimizer or keras.optimizers.SGD(RATE), **compiling)


def applied(model: Any, *callbacks: Any, epochs: int = EPOCHS, **fitting: Any) -> dict[str, Array]:
    """The rates that were applied to each layer, epoch after epoch."""
    seen = Applied()
    model.fit(*data(), epochs=epochs, batch_size=1, shuffle=False, verbose=0, callbacks=[*callbacks, seen], **fitting)
    by_epoch = seen.rates.reshape(-1, len(LAYERS), STEPS)
    return {name: by_epoch[:, i].ravel() for i, name in enumerate(LAYERS)}


def expected(multiplier: float, rates: Array | None = None) -> Array:
    """The schedule's rates times a multiplier, rounded once."""
    exact = sgdr(eta_max=RATE).schedule.learning_rates(EPOCHS, STEPS) if rates is None else rates
    return np.asarray(exact * multiplier, "float32")


def assert_applied(rates: dict[str, Array], multiplier: dict[str, float] = MULTIPLIER) -> None:
    for name, of_layer in rates.items():
        np.testing.assert_array_equal(of_layer, expected(multiplier[name]), err_msg=name)


@pytest.mark.parametrize("jit_compile", COMPILED)
@pytest.mark.parametrize("executed", EXECUTIONS)
def test_to_the_bit(executed: int, jit_compile: bool) -> None:
    model = probes(steps_per_execution=executed, jit_compile=jit_compile)
    assert_applied(applied(model, sgdr(rate_multipliers=PATTERNS)))


def test_a_function_of_the_variable() -> None:
    function = {name: {"head": 2.5, "stem": 0.0}.get(name, 1.0) for name in LAYERS}
    callback = sgdr(rate_multipliers=lambda variable: function[variable.path.split("/")[0]])
    assert_applied(applied(probes(), callback), function)


def test_under_loss_scaling() -> None:
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), initial_scale=1.0)
    assert_applied(applied(probes(optimizer), sgdr(rate_multipliers=PATTERNS)))


def test_under_accumulation() -> None:
    # Of three batches the mean gradient is a third, and the third of them makes the update.
    model = probes(keras.optimizers.SGD(RATE, gradient_accumulation_steps=STEPS))
    rates = applied(model, sgdr(rate_multipliers=PATTERNS))
    last = sgdr(eta_max=RATE).schedule.learning_rates(EPOCHS, STEPS)[STEPS - 1 :: STEPS]
    for name, of_layer in rates.items():
        want = np.repeat(expected(MULTIPLIER[name], last), STEPS) / STEPS
        np.testing.assert_allclose(of_layer, want, rtol=3e-7, err_msg=name)


def test_held_through_an_epoch_and_in_a_second_fit() -> None:
    model = probes()
    for multipliers in (PATTERNS, {"head": 0.5}, None, PATTERNS):
        of_layer = {"head": 0.5} if multipliers == {"head": 0.5} else MULTIPLIER if multipliers else {}
        rates = applied(model, sgdr(per="epoch", rate_multipliers=multipliers))
        held = np.repeat(sgdr(eta_max=RATE).schedule.learning_rates(EPOCHS, 1), STEPS)
        for name, got in rates.items():
            np.testing.assert_array_equal(got, expected(of_layer.get(name, 1.0), held), err_msg=f"{name} {multipliers}")


def test_several_optimizers() -> None:
    first, second = keras.optimizers.SGD(RATE, name="first"), keras.optimizers.SGD(0.2, name="second")
    model = probes(keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(first, {"head.*": second})))
    callback = sgdr(rate_multipliers={"head": 0.5, "stem": 0.1})
    history = model.fit(*data(), epochs=EPOCHS, batch_size=1, verbose=0, callbacks=[callback]).history
    logged = {name for name in history if name.startswith("learning_rate_")}
    assert logged == {
        "learning_rate_first",
        "learning_rate_first_stem",
        "learning_rate_second",
        "learning_rate_second_head",
    }
    rates = applied(model, callback)
    np.testing.assert_array_equal(rates["head"], expected(0.5, 2 * sgdr(eta_max=0.1).schedule.learning_rates(3, STEPS)))
    np.testing.assert_array_equal(rates["stem"], expected(0.1))
    np.testing.assert_array_equal(rates["conv5_block1"], expected(1.0))


def test_logged_by_group() -> None:
    history = probes().fit(*data(), epochs=EPOCHS, batch_size=1, verbose=0, callbacks=[sgdr(rate_multipliers=PATTERNS)])
    last = sgdr(eta_max=RATE).schedule.learning_rates(EPOCHS, STEPS)[STEPS - 1 :: STEPS]
    for name, multiplier in (("", 1.0), ("_head", 1.0), ("_conv5", 0.3), ("_rest", 0.1)):
        got = history.history[f"learning_rate{name}"]
        np.testing.assert_array_equal(np.asarray(got, "float32"), expected(multiplier, last))
    function = sgdr(rate_multipliers=lambda variable: 0.25)
    assert "learning_rate_x0.25" in probes().fit(*data(), verbose=0, epochs=3, callbacks=[function]).history


def test_in_a_loop_of_ones_own() -> None:
    if keras.config.backend() == "jax":
        pytest.skip("Its variables are handed in and out: tests/any_backend/callbacks/test_own_loops.py.")
    model = probes()
    model.optimizer.build(model.trainable_variables)
    callbacks = keras.callbacks.CallbackList([sgdr(rate_multipliers=PATTERNS)], model=model, epochs=1, steps=STEPS)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    seen = []
    for _ in range(STEPS):
        for variable in model.trainable_variables:
            variable.assign(np.zeros(STEPS))
        model.optimizer.apply([keras.ops.ones((STEPS,)) for _ in LAYERS], model.trainable_variables)
        seen.append([-float(keras.ops.convert_to_numpy(variable)[0]) for variable in model.trainable_variables])
    callbacks.on_epoch_end(0)
    callbacks.on_train_end()
    for name, of_layer in zip(LAYERS, np.array(seen).T, strict=True):
        np.testing.assert_array_equal(of_layer.astype("float32"), expected(MULTIPLIER[name])[:STEPS])


# Every optimizer of Keras, against separate ones.

OPTIMIZERS = {
    "SGD": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=0.01),
    "RMSprop": keras.optimizers.RMSprop,
    "Adam": keras.optimizers.Adam,
    "AdamW": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
    "Adadelta": keras.optimizers.Adadelta,
    "Adagrad": keras.optimizers.Adagrad,
    "Adamax": keras.optimizers.Adamax,
    "Adafactor": lambda rate: keras.optimizers.Adafactor(rate, weight_decay=0.1),
    "Nadam": keras.optimizers.Nadam,
    "Ftrl": keras.optimizers.Ftrl,
    "Lion": keras.optimizers.Lion,
    "Lamb": keras.optimizers.Lamb,
    "Muon": lambda rate: keras.optimizers.Muon(rate, adam_weight_decay=0.01),
    "AdamWR": lambda rate: AdamWR(rate, eta_max=RATE, lambda_norm=0.1),
    "PyTorchSGD": lambda rate: PyTorchSGD(rate, momentum=0.9, weight_decay=0.01),
}


def test_every_optimizer_of_keras_is_tried() -> None:
    wrappers = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap", "TFOptimizer"}
    # It averages over the updates by their rates, itself, and so is no optimizer to be scheduled.
    others = {"ScheduleFreeAdamW"}
    found = {name for name, each in vars(keras.optimizers).items() if isinstance(each, type)}
    assert found - wrappers - others <= OPTIMIZERS.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equal_to_separate_optimizers(name: str) -> None:
    make: Any = OPTIMIZERS[name]
    groups = {"dense_1": 0.25, "*": 1.0}

    def trained(optimizer: Any, **options: Any) -> list[Array]:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(4, activation="tanh", name="dense"), keras.layers.Dense(1, name="dense_1")]
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile(optimizer, loss="mse")
        train(model, sgdr(**options), epochs=3)
        return values(model.trainable_variables)

    ours = trained(make(RATE), rate_multipliers=groups)
    separate = keras.optimizers.OptimizerMap(make(RATE), {".*dense_1/.*": make(0.25 * RATE)})
    # The control: with one rate for all it is another training.
    one_rate = trained(make(RATE))
    theirs = trained(keras.optimizers.MultiOptimizer(separate))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
    assert not np.allclose(one_rate[-1], theirs[-1], rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW", "Ftrl", "AdamWR"])
def test_zero_freezes(optimizer: str) -> None:
    make: Any = OPTIMIZERS[optimizer]
    model = small_model(make(RATE))
    first, last = model.layers
    before = values(first.weights), values(last.weights)
    train(model, sgdr(rate_multipliers={first.name: 0}))
    assert_equal(values(first.weights), before[0])
    assert not np.array_equal(values(last.weights)[0], before[1][0])


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Optimizer, files and a later `fit` are as without; the file loads where the package is not installed."""
    model, ordinary = small_model(scaled()), small_model(scaled())
    inner = model.optimizer.inner_optimizer
    before = set(vars(inner))
    train(model, sgdr(rate_multipliers={"*": 1.0}), keras.callbacks.ModelCheckpoint(str(tmp_path / "during.keras")))
    train(ordinary, sgdr(), keras.callbacks.ModelCheckpoint(str(tmp_path / "ordinary.keras")))
    # What Keras itself makes in a first `fit`.
    assert set(vars(inner)) - before == set(vars(ordinary.optimizer.inner_optimizer)) - before
    assert_equal(values(model.weights), values(ordinary.weights))
    assert_equal(values(model.optimizer.variables), values(ordinary.optimizer.variables))
    loaded = keras.models.load_model(tmp_path / "during.keras")
    assert_equal(values(loaded.optimizer.inner_optimizer.variables), values(inner.variables))
    train(model)
    train(ordinary)
    assert_equal(values(model.weights), values(ordinary.weights))


@pytest.mark.slow
def test_a_file_loads_without_the_package(tmp_path: Path) -> None:
    model = small_model(keras.optimizers.Adam(0.01))
    paths = [str(tmp_path / "during.keras"), str(tmp_path / "after.keras")]
    first = model.layers[0]
    first.trainable = False
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    callback = sgdr(rate_multipliers={first.name: 0.1, "*": 1.0}, unfreeze={1: first.name})
    train(model, callback, keras.callbacks.ModelCheckpoint(paths[0]))
    model.save(paths[1])
    code = f"""
import sys
sys.modules["keras_sgdr"] = None
import keras
for path in {paths!r}:
    model = keras.models.load_model(path)
    assert len(model.optimizer.variables) == 10, len(model.optimizer.variables)
    assert int(model.optimizer.iterations) == 9
    model.fit(keras.ops.ones((2, 3)), keras.ops.ones((2, 1)), verbose=0)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=300, check=True)


def test_its_configuration() -> None:
    callback = SGDR(10, rate_multipliers=PATTERNS, unfreeze={1: "conv5", 2: ["stem", "head"]})
    again = SGDR.from_config(callback.get_config())
    assert (again.rate_multipliers, again.unfreeze) == (PATTERNS, {1: "conv5", 2: ["stem", "head"]})
    multipliers, unfreeze = f"rate_multipliers={PATTERNS}", "unfreeze={1: 'conv5', 2: ['stem', 'head']}"
    assert repr(callback) == f"SGDR(T_0=10, {multipliers}, {unfreeze})"


# What is refused.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, r"must be a dictionary of patterns and multipliers, or a function of a variable\. Received: .*=3\. Pass"),
        ({}, r"must be a dictionary.* Received: .*=\{\}\. Pass"),
        ({"": 1.0}, r"must name layers by strings that are not empty\. Received: a layer=''\. Pass"),
        ({3: 1.0}, r"must name layers by strings that are not empty\. Received: a layer=3\. Pass"),
        ({"head": -1}, r"`rate_multipliers\['head'\]` must be a finite number, 0 or more\. Received: .*-1\. Pass"),
        ({"head": float("inf")}, r"`rate_multipliers\['head'\]` must be a finite number.*inf\. Pass"),
        ({"head": "1"}, r"`rate_multipliers\['head'\]` must be a finite number.*'1'\. Pass"),
    ],
    ids=str,
)
def test_refused_at_construction(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SGDR(rate_multipliers=given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"conv4": 1.0},
            r"Each pattern of `rate_multipliers` must match a variable\. Received: 'conv4', which matches",
        ),
        (
            {"conv": 1.0},
            r"'conv', which matches none\. The variables are those of conv5_block1, conv5_block2, head, stem",
        ),
        (
            {"*": 1.0, "head": 2.0},
            r"first pattern.* counts\. Received: 'head', of whose variables all .* Put it before",
        ),
        (lambda variable: None, r"`rate_multipliers\(conv5_block1/w\)` must be a finite number.*None\. Pass"),
        (lambda variable: -0.5, r"`rate_multipliers\(conv5_block1/w\)` must be a finite number.*-0\.5\. Pass"),
    ],
    ids=str,
)
def test_refused_when_training_begins(given: Any, message: str) -> None:
    model = probes()
    with pytest.raises(ValueError, match=message):
        applied(model, sgdr(rate_multipliers=given))
    # The model is as it was.
    assert_applied(applied(model, sgdr()), dict.fromkeys(LAYERS, 1.0))


def test_a_rate_beyond_the_optimizers_precision_is_refused() -> None:
    model = probes()
    with pytest.raises(ValueError, match=r"must be within the optimizer's float32\."):
        applied(model, sgdr(rate_multipliers={"head": 1e40}))
    np.testing.assert_array_equal(applied(model, sgdr())["head"], planned())


def test_an_optimizer_that_is_not_built_is_refused() -> None:
    model = keras.Sequential([Probe(STEPS)])
    model.compile(keras.optimizers.SGD(RATE), loss=gradient_is_target)
    callback = sgdr(rate_multipliers=PATTERNS)
    callback.set_model(model)
    callback.set_params({"epochs": 1, "steps": STEPS})
    with pytest.raises(ValueError, match=r"the optimizer 'sgd.*', not built\. Begin the model with"):
        callback.on_train_begin()


def test_the_name_of_a_layer_is_that_layer_alone() -> None:
    names = ("dense", "dense_1", "dense_10", "block_dense")
    model = named_probes(names, keras.optimizers.SGD(RATE))
    for pattern, matched in (
        ("dense", [0]),
        ("dense_1", [1]),
        ("dense_1*", [1, 2]),
        ("dense*", [0, 1, 2]),
        ("*dense", [0, 1, 2, 3]),
        ("block", [3]),
        ("dense_[1]", [1]),
        ("w", [0, 1, 2, 3]),
        ("block_dense/w", [3]),
    ):
        rates = applied(model, sgdr(rate_multipliers={pattern: 0.5}))
        frozen = [i for i, of_layer in enumerate(rates.values()) if np.array_equal(of_layer, expected(0.5))]
        assert frozen == matched, pattern


def test_a_model_that_fit_builds() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(1, name="only")])
    model.compile(keras.optimizers.SGD(RATE), loss="mse")
    x, y = small_data()

    def trained() -> None:
        model.fit(x, y, epochs=3, verbose=0, callbacks=[sgdr(rate_multipliers={"only": 0.5})])

    # On TensorFlow Keras builds it after callbacks are told that training begins.
    if keras.config.backend() == "tensorflow":
        with pytest.raises(ValueError, match=r"not built\. Begin the model with a `keras\.Input`, or call"):
            trained()
        model.build((None, 3))
    trained()
