"""Layers that become trainable at a restart, amid one `fit`."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_sgdr import SGDR, SnapshotCheckpoint, StepDecay
from keras_sgdr.optimizers import AdamWR, PyTorchSGD
from tests.support.optimizers import several
from tests.support.probe import RATE, Array, sgdr
from tests.support.small_model import assert_equal, small_data, train, values

LAYERS = ("stem", "conv5_a", "conv5_b", "head")


def frozen_model(optimizer: Any, *trainable: str, nested: bool = False, **compiling: Any) -> Any:
    """Four layers, the same at every call, of which only those named (and the last) are trainable."""
    keras.utils.set_random_seed(0)
    backbone = [keras.layers.Dense(4, activation="tanh", name=name) for name in LAYERS[:-1]]
    layers = [keras.Sequential([keras.Input((3,)), *backbone], name="backbone")] if nested else backbone
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1, name="head")])
    if nested:
        layers[0].trainable = False
    else:
        for layer in backbone:
            layer.trainable = layer.name in trainable
    model.compile(optimizer, loss="mse", **compiling)
    return model


class Weights(keras.callbacks.Callback):
    """The weights of each layer at the end of each epoch."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.epochs: list[dict[str, list[Array]]] = [self._now()]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(self._now())

    def _now(self) -> dict[str, list[Array]]:
        layers = [layer for layer in self.model._flatten_layers() if layer.name in LAYERS]
        return {layer.name: values(layer.weights) for layer in layers}

    def moved(self, epoch: int) -> set[str]:
        """The layers whose weights the epoch, from 0, has changed."""
        before, after = self.epochs[epoch : epoch + 2]
        return {name for name in before if not np.array_equal(before[name][0], after[name][0])}


def adam() -> Any:
    return keras.optimizers.Adam(0.01)


@pytest.mark.parametrize("nested", [False, True])
def test_trainable_from_the_restart_on(nested: bool) -> None:
    model, weights = frozen_model(adam(), nested=nested), Weights()
    train(model, sgdr(unfreeze={1: "conv5", 2: "*"}), weights, epochs=7)  # Cycles of 1, 2 and 4 epochs.
    moved = [weights.moved(epoch) for epoch in range(7)]
    assert moved == [{"head"}] + 2 * [{"head", "conv5_a", "conv5_b"}] + 4 * [set(LAYERS)]
    assert len(model.trainable_variables) == 8


STATEFUL = {
    "momentum": lambda: keras.optimizers.SGD(RATE, momentum=0.9),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "EMA": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "Nadam": lambda: keras.optimizers.Nadam(0.01),
    "Muon": lambda: keras.optimizers.Muon(0.01),
    "Adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "accumulation": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=3),
    "loss scaling": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
    "AdamWR": lambda: AdamWR(0.01, lambda_norm=0.1),
    "PyTorchSGD": lambda: PyTorchSGD(RATE, momentum=0.9),
}


@pytest.mark.parametrize("name", STATEFUL)
def test_what_the_optimizer_knows_stays(name: str) -> None:
    """As if all had been trained from the first, with a zero gradient of what was frozen: state, and updates after."""
    make: Any = STATEFUL[name]
    states: list[dict[str, Array]] = []

    class Remember(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            states.append(self._state())

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 0 and len(states) == 1:
                if hasattr(self.model, "jax_state_sync"):
                    self.model.jax_state_sync()
                states.append(self._state())

        def _state(self) -> dict[str, Array]:
            # Where Keras names one "variable", its number is that of a process.
            named = {re.sub(r"^variable(_\d+)?$", "shared", each.path): each for each in self.model.optimizer.variables}
            return {path: np.array(ops.convert_to_numpy(each)) for path, each in named.items()}

    model = frozen_model(make())
    train(model, sgdr(unfreeze={1: "conv5"}), Remember())
    before, after = states[:2]
    assert set(before) <= set(after)
    # What `SGDR` sets, and the counter of loss scaling that only it uses.
    set_anew = {path for path in before if re.search("rate|cycle_updates|loss_scale_optimizer[_0-9]*/iteration", path)}
    for path in set(before) - set_anew:
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)
    assert any(np.any(before[path] != 0) for path in set(before) - set_anew if "head" in path)
    # In the order of an optimizer that was built for as many from the first, so that files fit.
    fresh = make()
    fresh.build(model.trainable_variables)
    shapes = [
        [(each.name.rpartition("_")[2].strip("0123456789"), each.shape) for each in one.variables]
        for one in (model.optimizer, fresh)
    ]
    assert shapes[0] == shapes[1]


def test_updates_of_what_was_trained_are_as_before() -> None:
    """SGD with momentum: unfrozen where another run had it trainable with no rate until then, the runs are equal."""
    ours = frozen_model(keras.optimizers.SGD(RATE))
    train(ours, sgdr(unfreeze={1: "conv5"}))
    by_hand = frozen_model(keras.optimizers.SGD(RATE))
    train(by_hand, sgdr(), epochs=1)
    for layer in by_hand.layers[1:3]:
        layer.trainable = True
    by_hand.compile(keras.optimizers.SGD(RATE), loss="mse")
    train(by_hand, sgdr(), epochs=3, initial_epoch=1)
    assert_equal(values(ours.weights), values(by_hand.weights))


def test_groups_of_layers_that_are_frozen_yet() -> None:
    """A pattern may name them, and their group is logged from the first epoch on."""
    model, weights = frozen_model(keras.optimizers.SGD(RATE)), Weights()
    callback = sgdr(unfreeze={1: "conv5"}, rate_multipliers={"conv5_a": 0.0, "conv5_b": 0.5, "head": 1.0})
    history = train(model, callback, weights).history
    assert [weights.moved(epoch) for epoch in range(3)] == [{"head"}] + 2 * [{"head", "conv5_b"}]
    assert history["learning_rate_conv5_b"] == pytest.approx([0.5 * rate for rate in history["learning_rate"]])


def test_averages_begin_with_the_weights_as_they_are() -> None:
    model = frozen_model(keras.optimizers.Adam(0.0001, use_ema=True, ema_momentum=0.9))
    before = values(model.get_layer("conv5_a").weights)
    train(model, sgdr(unfreeze={1: "conv5"}))  # `fit` ends with the averages in the model.
    for one, other in zip(values(model.get_layer("conv5_a").weights), before, strict=True):
        np.testing.assert_allclose(one, other, atol=0.01)


def test_with_multipliers_snapshots_and_a_second_fit(tmp_path: Any) -> None:
    model, weights = frozen_model(keras.optimizers.SGD(RATE)), Weights()
    callback = sgdr(unfreeze={1: "conv5"}, rate_multipliers=lambda variable: 0.0 if "conv5_b" in variable.path else 1.0)
    train(model, callback, SnapshotCheckpoint(tmp_path), weights)
    assert [weights.moved(epoch) for epoch in range(3)] == [{"head"}, {"head", "conv5_a"}, {"head", "conv5_a"}]
    np.testing.assert_array_equal(callback.rates, sgdr(eta_max=RATE).schedule.learning_rates(3, 3).astype("float32"))
    assert [row["complete"] for row in callback.cycles] == [True, True]
    weights = Weights()
    train(model, sgdr(), weights)
    assert all(weights.moved(epoch) == {"head", "conv5_a", "conv5_b"} for epoch in range(3))


@pytest.mark.parametrize("initial_epoch", [0, 1, 2, 3])
def test_begun_later(initial_epoch: int) -> None:
    model, weights = frozen_model(adam()), Weights()
    train(model, sgdr(unfreeze={1: "conv5", 2: "stem"}), weights, epochs=7, initial_epoch=initial_epoch)
    first = {"head"} if initial_epoch == 0 else {"head", "conv5_a", "conv5_b"}
    assert weights.moved(0) == first | ({"stem"} if initial_epoch == 3 else set())
    assert weights.moved(7 - initial_epoch - 1) == set(LAYERS)


def test_a_layer_that_is_trainable_already_and_one_of_its_own_optimizer_state() -> None:
    model, weights = frozen_model(adam(), "stem"), Weights()
    train(model, sgdr(unfreeze={1: ["stem", "head"]}), weights)
    assert all(weights.moved(epoch) == {"head", "stem"} for epoch in range(3))


def test_several_batches_an_execution() -> None:
    if keras.config.backend() == "torch":
        pytest.skip("Keras makes one batch an execution there.")
    model, weights = frozen_model(adam(), steps_per_execution=3), Weights()
    train(model, sgdr(unfreeze={1: "conv5"}), weights)
    assert [weights.moved(epoch) for epoch in range(3)] == [{"head"}] + 2 * [{"head", "conv5_a", "conv5_b"}]


def test_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    train(frozen_model(adam()), sgdr(unfreeze={1: ["conv5", "stem"]}, verbose=1))
    assert "Epoch 2: trainable from here: conv5, stem\n" in capsys.readouterr().out


# What is refused.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "conv5",
            r"`unfreeze` must be a dictionary of restarts and the layers.* Received: unfreeze='conv5'\. Pass such",
        ),
        ({}, r"`unfreeze` must be a dictionary.* Received: unfreeze=\{\}\. Pass such"),
        ({0: "conv5"}, r"`unfreeze` must be a positive integer\. Received: unfreeze=0\. Pass 1 for the first restart"),
        ({1.5: "conv5"}, r"`unfreeze` must be a positive integer\. Received: unfreeze=1\.5\. Pass 1"),
        ({1: []}, r"`unfreeze` must be a dictionary.* Received: unfreeze=\{1: \[\]\}\. Pass such"),
        ({1: 3}, r"`unfreeze` must be a dictionary.* Received: unfreeze=\{1: 3\}\. Pass such"),
        ({1: ["conv5", ""]}, r"`unfreeze` must name layers by strings that are not empty\. Received: .*''\. Pass"),
    ],
    ids=str,
)
def test_refused_at_construction(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SGDR(unfreeze=given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unfreeze": {1: "conv4"}}, r"Each pattern of `unfreeze` must match a variable\. Received: 'conv4', which"),
        ({"unfreeze": {1: "head"}, "T_0": 1.5}, r"begins an epoch\. Received: begin of restart 1=1\.5\. Choose cycles"),
        ({"unfreeze": {3: "head"}, "cycle_limit": 2}, r"Received: unfreeze=\{3: 'head'\}\. Its last is 1\."),
        (
            {"unfreeze": {1: "head"}, "schedule": StepDecay(0.1), "T_0": None, "T_mult": 2},
            r"Received: unfreeze=\{1: 'head'\}\. Its last is 0\.",
        ),
    ],
    ids=str,
)
def test_refused_when_training_begins(options: dict[str, Any], message: str) -> None:
    model = frozen_model(adam())
    with pytest.raises(ValueError, match=message):
        train(model, sgdr(**options))
    train(model, sgdr())  # As it was.
    assert len(model.trainable_variables) == 2


def test_several_optimizers_are_refused() -> None:
    model = frozen_model(several())
    with pytest.raises(ValueError, match=r"must be one\. Received: a MultiOptimizer\. Compile with one optimizer"):
        train(model, sgdr(unfreeze={1: "conv5"}))
    model = frozen_model(adam())
    with pytest.raises(ValueError, match=r"must be one\. Received: SGDR\(optimizer=\.\.\.\)\. Compile with one"):
        train(model, sgdr(unfreeze={1: "conv5"}, optimizer=model.optimizer))


def test_in_a_loop_of_ones_own() -> None:
    if keras.config.backend() != "torch":
        pytest.skip("What is compiled does not see other variables; with PyTorch nothing is.")
    model = frozen_model(keras.optimizers.SGD(RATE, momentum=0.9))
    callbacks = keras.callbacks.CallbackList([sgdr(unfreeze={1: "conv5"})], model=model, epochs=3, steps=3)
    callbacks.on_train_begin()
    x, y = map(ops.convert_to_tensor, small_data())
    trained = []
    for epoch in range(3):
        callbacks.on_epoch_begin(epoch)
        for _ in range(3):
            model.zero_grad()
            ops.mean(ops.square(model(x) - y)).backward()
            model.optimizer.apply([each.value.grad for each in model.trainable_variables], model.trainable_variables)
        callbacks.on_epoch_end(epoch)
        trained.append(len(model.optimizer._trainable_variables))
    callbacks.on_train_end()
    assert trained == [2, 6, 6]
