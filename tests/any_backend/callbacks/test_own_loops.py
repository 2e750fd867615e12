"""Training loops of a user's own: by `CallbackList`, by hooks, with a step that Keras does not know."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_sgdr import SGDR, SnapshotCheckpoint
from keras_sgdr.snapshots import Manifest
from tests.support.probe import BACKEND, EPOCHS, RATE, STEPS, Applied, Array, data, fit, planned, probe, sgdr

CONSTANT = np.full(STEPS, RATE, "float32")


def hooked(model: Any, *callbacks: Any, epochs: int = EPOCHS, **params: Any) -> Any:
    """A `CallbackList` around a loop."""
    return keras.callbacks.CallbackList(list(callbacks), model=model, epochs=epochs, **params)


def loop(model: Any, step: Callable[[Any, Any], Any], callback: SGDR, *, epochs: int = EPOCHS, first: int = 0) -> Array:
    """The rates that a loop applied, whose step is given one batch after another."""
    applied, history = Applied(), keras.callbacks.History()
    callbacks = hooked(model, history, callback, applied, epochs=epochs, steps=STEPS)
    callbacks.on_train_begin()
    for epoch in range(first, epochs):
        callbacks.on_epoch_begin(epoch)
        for batch, (x, y) in enumerate(zip(*data(), strict=True)):
            callbacks.on_train_batch_begin(batch)
            step(x[None], y[None])
            callbacks.on_train_batch_end(batch)
        callbacks.on_epoch_end(epoch, {})
        assert history.history["learning_rate"][-1] == float(callback.rates[-1])
    callbacks.on_train_end()
    np.testing.assert_array_equal(applied.rates, callback.rates)
    return applied.rates


def assert_untouched(model: Any) -> None:
    assert float(ops.convert_to_numpy(model.optimizer.learning_rate)) == np.float32(RATE)
    np.testing.assert_array_equal(fit(model, epochs=1), CONSTANT)


class TestTrainOnBatch:
    def test_callback_list(self) -> None:
        model = probe()
        for _ in range(2):
            np.testing.assert_array_equal(loop(model, model.train_on_batch, sgdr()), planned())
        assert_untouched(model)

    def test_hooks_by_hand(self) -> None:
        model, callback = probe(), sgdr()
        callback.set_model(model)
        callback.set_params({"epochs": EPOCHS, "steps": STEPS})
        callback.on_train_begin()
        before = 0.0
        rates = []
        for epoch in range(EPOCHS):
            callback.on_epoch_begin(epoch)
            for _ in range(STEPS):
                model.train_on_batch(*(part[:1] for part in data()))
                total = -float(ops.convert_to_numpy(model.layers[-1].w)[0])
                rates.append(total - before)
                before = total
            callback.on_epoch_end(epoch)
        callback.on_train_end()
        np.testing.assert_allclose(rates, planned(), atol=1e-6)
        np.testing.assert_array_equal(callback.rates, planned())
        assert [row["complete"] for row in callback.cycles] == [True, True]
        assert_untouched(model)

    def test_before_and_after_a_fit(self) -> None:
        model = probe()
        np.testing.assert_array_equal(fit(model, sgdr()), planned())
        np.testing.assert_array_equal(loop(model, model.train_on_batch, sgdr()), planned())
        np.testing.assert_array_equal(fit(model, sgdr()), planned())

    def test_several_batches_an_execution(self) -> None:
        if BACKEND == "torch":
            pytest.skip("Keras allows one batch an execution on PyTorch.")
        model = probe(steps_per_execution=4)
        np.testing.assert_array_equal(loop(model, model.train_on_batch, sgdr()), planned())

    def test_a_late_start(self) -> None:
        model = probe()
        np.testing.assert_array_equal(loop(model, model.train_on_batch, sgdr(), first=1), planned(first=1))

    def test_not_after_a_fit_that_an_exception_has_ended(self) -> None:
        """No rate of that `fit` is applied."""
        model = probe()
        raising = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit(model, sgdr(), raising)
        model.layers[-1].w.assign(np.zeros(STEPS))
        model.train_on_batch(*(part[:1] for part in data()))
        assert -float(ops.convert_to_numpy(model.layers[-1].w)[0]) == np.float32(RATE)

    def test_in_a_callback_of_fit(self) -> None:
        """A batch more in each epoch is one that the schedule has no place for."""

        class More(keras.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                self.model.train_on_batch(*(part[:1] for part in data()))

        with pytest.raises(ValueError, match="14 batches in epoch 1, and 7 when training began"):
            fit(probe(), sgdr(), More())


@pytest.mark.tensorflow
class TestGradientTape:
    @staticmethod
    def step_of(model: Any, compiled: bool) -> Any:
        import tensorflow as tf

        def step(x: Any, y: Any) -> None:
            with tf.GradientTape() as tape:
                loss = model.compute_loss(y=y, y_pred=model(x, training=True))
            model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

        return tf.function(step, reduce_retracing=True) if compiled else step

    @pytest.mark.parametrize("compiled", [True, False])
    def test_the_same_step_in_two_trainings(self, compiled: bool) -> None:
        model = probe()
        step = self.step_of(model, compiled)
        for peak in (0.2, 0.3):
            rates = loop(model, step, sgdr(eta_max=peak))
            np.testing.assert_array_equal(rates, planned(eta_max=peak))
        assert_untouched(model)

    def test_a_step_that_was_compiled_before(self) -> None:
        model = probe()
        step = self.step_of(model, True)
        step(*(part[:1] for part in data()))
        message = (
            "The training step must read the learning rate that `SGDR` sets. Received: 7 updates of the optimizer "
            f"{model.optimizer.name!r} without it. Compile a step of your own after `on_train_begin`."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            loop(model, step, sgdr())

    def test_a_model_that_is_not_compiled(self) -> None:
        model = probe()
        plain = keras.Sequential(model.layers)
        plain.optimizer, plain.compute_loss = keras.optimizers.SGD(RATE), model.compute_loss
        np.testing.assert_array_equal(loop(plain, self.step_of(plain, True), sgdr()), planned())


@pytest.mark.skipif(BACKEND != "torch", reason="A loop of PyTorch.")
def test_a_loop_of_torch() -> None:
    import torch

    model = probe()

    def step(x: Array, y: Array) -> None:
        model.zero_grad()
        model.compute_loss(y=torch.from_numpy(y), y_pred=model(torch.from_numpy(x), training=True)).backward()
        weights = model.trainable_weights
        with torch.no_grad():
            model.optimizer.apply([each.value.grad for each in weights], weights)

    for peak in (0.2, 0.3):
        np.testing.assert_array_equal(loop(model, step, sgdr(eta_max=peak)), planned(eta_max=peak))
    assert_untouched(model)


@pytest.mark.skipif(BACKEND != "jax", reason="A loop of JAX.")
class TestStateless:
    """On JAX the optimizer's variables are handed to the step as they are after `on_epoch_begin`."""

    @staticmethod
    def train(model: Any, callback: SGDR, *, assigned: bool = True, taken_once: bool = False) -> Array:
        import jax

        optimizer, weights = model.optimizer, model.trainable_variables
        optimizer.build(weights)

        def loss_of(values: Any, x: Any, y: Any) -> Any:
            y_pred, _ = model.stateless_call(values, [], x)
            return model.compute_loss(y=y, y_pred=y_pred)

        @jax.jit
        def step(state: Any, x: Any, y: Any) -> Any:
            gradients = jax.grad(loss_of)(state[0], x, y)
            return optimizer.stateless_apply(state[1], gradients, state[0])

        applied = Applied()
        callbacks = hooked(model, callback, applied, epochs=EPOCHS, steps=STEPS)
        callbacks.on_train_begin()
        early = [each.value for each in optimizer.variables]
        for epoch in range(EPOCHS):
            callbacks.on_epoch_begin(epoch)
            variables = list(optimizer.variables)
            state: Any = [each.value for each in weights], early if taken_once else [each.value for each in variables]
            for x, y in zip(*data(), strict=True):
                state = step(state, x[None], y[None])
            for each, value in zip(weights, state[0], strict=True):
                each.assign(value)
            for each, value in zip(variables if assigned else [], state[1] if assigned else [], strict=True):
                each.assign(value)
            callbacks.on_epoch_end(epoch, {})
        callbacks.on_train_end()
        np.testing.assert_array_equal(applied.rates, callback.rates)
        return applied.rates

    def test_rates(self) -> None:
        model = probe()
        for peak in (0.2, 0.3):
            np.testing.assert_array_equal(self.train(model, sgdr(eta_max=peak)), planned(eta_max=peak))
        assert_untouched(model)

    def test_variables_that_are_not_assigned(self) -> None:
        with pytest.raises(ValueError, match="Received: 0 updates of the optimizer"):
            self.train(probe(), sgdr(), assigned=False)

    def test_variables_that_were_taken_too_early(self) -> None:
        with pytest.raises(ValueError, match=r"Received list with length 2, but expected 3 variables|0 updates"):
            self.train(probe(), sgdr(), taken_once=True)


class TestLeftEarly:
    """A loop or a `fit` that ends without `on_train_end`."""

    @staticmethod
    def broken_off(model: Any) -> None:
        callbacks = hooked(model, sgdr(), epochs=EPOCHS, steps=STEPS)
        callbacks.on_train_begin()
        callbacks.on_epoch_begin(0)
        model.train_on_batch(*(part[:1] for part in data()))

    def test_the_next_training_takes_over(self) -> None:
        model = probe()
        self.broken_off(model)
        np.testing.assert_array_equal(loop(model, model.train_on_batch, sgdr()), planned())
        self.broken_off(model)
        np.testing.assert_array_equal(fit(model, sgdr()), planned())
        self.broken_off(model)
        np.testing.assert_array_equal(fit(model), np.full(3 * STEPS, RATE, "float32"))

    def test_setting_the_rate_names_the_hook(self) -> None:
        model = probe()
        self.broken_off(model)
        message = "Until `on_train_end()` only `SGDR` sets the learning rate. Received: learning_rate=0.5 from outside."
        with pytest.raises(ValueError, match=re.escape(message)):
            model.optimizer.learning_rate = 0.5

    def test_an_update_after_an_exception_has_the_own_rate(self) -> None:
        model = probe()
        with pytest.raises(ZeroDivisionError):
            fit(model, sgdr(), keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: 1 / 0))
        model.layers[-1].w.assign(np.zeros(STEPS))
        gradients = [ops.ones(each.shape) for each in model.trainable_variables]
        model.optimizer.apply(gradients, model.trainable_variables)
        np.testing.assert_array_equal(-ops.convert_to_numpy(model.layers[-1].w), CONSTANT)
        assert len(model.optimizer.variables) == 2


class TestErrors:
    def test_without_params(self) -> None:
        callback = sgdr()
        callback.set_model(probe())
        message = (
            "`SGDR` must be told how long the training is. Received: params=None. In a loop of your own call "
            '`set_params({"epochs": ..., "steps": ...})` before `on_train_begin()`, or use'
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            callback.on_train_begin()

    def test_without_a_model(self) -> None:
        callback = sgdr()
        callback.set_params({"epochs": EPOCHS, "steps": STEPS})
        with pytest.raises(
            ValueError, match=r"so the model must be compiled\. Received: model=None without an optimizer"
        ):
            callback.on_train_begin()

    @pytest.mark.parametrize(("times", "rule"), [(2, "14 batches in epoch 1, and 7 when"), (0, "0 updates of the")])
    def test_another_number_of_batches(self, times: int, rule: str) -> None:
        model = probe()

        def step(x: Array, y: Array) -> None:
            for _ in range(times):
                model.train_on_batch(x, y)

        with pytest.raises(ValueError, match=rule):
            loop(model, step, sgdr())

    def test_a_loop_that_sets_the_rate(self) -> None:
        model = probe()

        def step(x: Array, y: Array) -> None:
            model.train_on_batch(x, y)
            model.optimizer.learning_rate = 0.5

        with pytest.raises(ValueError, match=r"only `SGDR` sets the learning rate\. Received: learning_rate=0\.5 from"):
            loop(model, step, sgdr())

    def test_a_loop_that_sets_a_schedule(self) -> None:
        model = probe()

        def step(x: Array, y: Array) -> None:
            model.train_on_batch(x, y)
            model.optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.9)

        with pytest.raises(ValueError, match=r"only `SGDR` sets the learning rate\. Received: learning_rate=<"):
            loop(model, step, sgdr())

    def test_a_cycle_that_ended_unseen(self, tmp_path: Path) -> None:
        """Its snapshot would have the weights of the next one."""
        model = probe()
        callbacks = hooked(
            model, SGDR(Fraction(4, STEPS), cycle_limit=1), SnapshotCheckpoint(tmp_path), epochs=1, steps=STEPS
        )
        callbacks.on_train_begin()
        callbacks.on_epoch_begin(0)
        for x, y in zip(*data(), strict=True):
            model.train_on_batch(x[None], y[None])
        with pytest.raises(ValueError, match=r"seen before the next one begins. Received: cycle 1, .* 4 of the 7"):
            callbacks.on_epoch_end(0, {})
        assert Manifest.read(tmp_path).snapshots == []
