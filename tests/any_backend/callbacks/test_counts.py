"""What is logged is what was applied: the count of updates, the batches of an epoch, and who else sets the rate."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR, SnapshotCheckpoint, WarmRestarts
from tests.support.probe import (
    BACKEND,
    EXECUTIONS,
    RATE,
    STEPS,
    Array,
    data,
    fit,
    gradient_is_target,
    planned,
    probe,
    sgdr,
)
from tests.support.train_steps import ByItself, EverySecond, Repeating, custom, moved

RAN_OUT = pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
EVEN = 8  # Batches in an epoch where every second is to count.


class TestUpdatesPerBatch:
    @pytest.mark.parametrize("steps_per_execution", [EXECUTIONS[0], EXECUTIONS[-1]])
    @pytest.mark.parametrize(("kind", "per_batch"), [(Repeating, 2), (EverySecond, Fraction(1, 2))])
    def test_as_many_as_given(self, kind: type, per_batch: Any, steps_per_execution: int) -> None:
        """Update `k` of an epoch of `n` updates has the rate at `k / n`."""
        model = custom(kind, steps=EVEN, steps_per_execution=steps_per_execution)
        callback = sgdr(updates_per_batch=per_batch)
        applied = fit(model, callback)
        expected = planned(steps=int(EVEN * per_batch))
        np.testing.assert_array_equal(applied, moved(expected, EVEN, Fraction(per_batch)))
        np.testing.assert_array_equal(callback.rates, expected)
        assert model.history.history["learning_rate"] == [float(rates[-1]) for rates in np.split(expected, 3)]
        assert [(row["length"], row["complete"]) for row in callback.cycles] == [(1, True), (2, True)]

    @pytest.mark.parametrize(
        ("kind", "updates", "argument"), [(Repeating, 16, "2"), (EverySecond, 4, "Fraction(1, 2)")]
    )
    @pytest.mark.parametrize("steps_per_execution", [EXECUTIONS[0], EXECUTIONS[-1]])
    def test_another_number(self, kind: type, updates: int, argument: str, steps_per_execution: int) -> None:
        model, epochs = custom(kind, steps=EVEN, steps_per_execution=steps_per_execution), []
        ended = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
        message = (
            f"The cycles are counted in updates, 1 per batch. Received: {updates} updates of the optimizer "
            f"{model.optimizer.name!r} in the 8 batches of epoch 1. If the training step makes as many in every epoch, "
            f"pass `SGDR(updates_per_batch={argument})`."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            fit(model, sgdr(), ended)
        assert epochs == []

    def test_a_fraction_that_does_not_divide_the_epoch(self) -> None:
        """Of seven batches an epoch has three updates or four, which restart with the epochs all the same."""
        model, callback = custom(EverySecond), sgdr(updates_per_batch="1/2")
        applied = fit(model, callback).reshape(3, STEPS)
        grid = planned().reshape(3, STEPS)
        assert not applied[:, ::2].any()
        np.testing.assert_array_equal(applied[:, 1::2], grid[:, :5:2])
        np.testing.assert_array_equal(callback.rates, grid[:, :5:2].ravel())

    def test_snapshots_at_the_ends_of_cycles(self, tmp_path: Any) -> None:
        fit(custom(Repeating), sgdr(updates_per_batch=2), SnapshotCheckpoint(tmp_path))
        manifest = SnapshotCheckpoint(tmp_path).manifest
        assert [(each.cycle, each.epoch, each.update) for each in manifest.snapshots] == [
            (1, 1, STEPS),
            (2, 3, 3 * STEPS),
        ]
        last = WarmRestarts(1, 2, RATE).learning_rates(3, 2 * STEPS)[[2 * STEPS - 1, -1]]
        assert [each.rate for each in manifest.snapshots] == list(last)

    @pytest.mark.parametrize("value", [0, -1, float("nan"), "half"])
    def test_refused(self, value: Any) -> None:
        message = f"`updates_per_batch` must be a positive number. Received: updates_per_batch={value!r}."
        with pytest.raises(ValueError, match=re.escape(message)):
            SGDR(1, updates_per_batch=value)

    def test_is_part_of_the_config(self) -> None:
        assert SGDR.from_config(SGDR(1, updates_per_batch=Fraction(1, 3)).get_config()).updates_per_batch == Fraction(
            1, 3
        )


@pytest.mark.skipif(BACKEND == "jax", reason="Keras's step on JAX is given the variables of one optimizer.")
class TestModelWithOptimizersOfItsOwn:
    def test_one_that_does_not_train(self) -> None:
        model = custom(ByItself)
        message = (
            "`SGDR` sets the learning rate of the optimizer that makes the updates. Received: 0 updates of the "
            f"optimizer {model.optimizer.name!r} in the 7 batches of epoch 1. Pass the one that does, such as "
            "`SGDR(optimizer=model.d_optimizer)`."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            fit(model, sgdr())

    def test_the_one_that_does(self) -> None:
        model = custom(ByItself)
        callback = sgdr(optimizer=model.d_optimizer)
        np.testing.assert_array_equal(fit(model, callback), planned())
        np.testing.assert_array_equal(fit(model), np.full(3 * STEPS, RATE, "float32"))
        np.testing.assert_array_equal(fit(model, callback), planned())

    def test_one_of_several(self) -> None:
        model = custom(ByItself)
        with pytest.raises(ValueError, match=f"0 updates of the optimizer {model.optimizer.name!r}"):
            fit(model, sgdr(optimizer=[model.d_optimizer, model.optimizer]))


class Delegating(keras.optimizers.Optimizer):
    """Leaves the updates to another, as Lookahead and SAM do."""

    def __init__(self, inner: Any, name: str = "held", **kwargs: Any) -> None:
        super().__init__(learning_rate=RATE, **kwargs)
        setattr(self, name, inner)
        self._inner_name = name

    @property
    def _other(self) -> Any:
        return getattr(self, self._inner_name)

    def build(self, variables: Any) -> None:
        self._other.build(variables)
        super().build(variables)

    @property
    def variables(self) -> Any:
        return [*super().variables, *self._other.variables]

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if not self.built:
            self.build(list(trainable_variables))
        self._other.apply(grads, trainable_variables)
        self._iterations.assign_add(1)


class DelegatingItsRate(Delegating):
    @property
    def learning_rate(self) -> Any:
        return self._other.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._other.learning_rate = value


@pytest.mark.parametrize("name", ["held", "inner_optimizer"])
@pytest.mark.parametrize("kind", [Delegating, DelegatingItsRate])
class TestWrappers:
    def test_found_before_training(self, kind: Any, name: str) -> None:
        model = probe(kind(keras.optimizers.SGD(RATE), name))
        message = (
            "`SGDR` must know which optimizer makes the updates, where one holds another. Received: "
            f"{kind.__name__}, whose `{name}` holds SGD. Pass that one: `SGDR(optimizer=model.optimizer.{name})`."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            fit(model, sgdr())
        np.testing.assert_array_equal(fit(model), np.full(3 * STEPS, RATE, "float32"))

    def test_the_inner_one(self, kind: Any, name: str) -> None:
        inner = keras.optimizers.SGD(RATE)
        np.testing.assert_array_equal(fit(probe(kind(inner, name)), sgdr(optimizer=inner)), planned())

    def test_the_outer_one(self, kind: Any, name: str) -> None:
        """Told from its rate before training where it gives another's, else by the end of the first epoch."""
        outer = kind(keras.optimizers.SGD(RATE), name)
        message = (
            f"Received: {kind.__name__}, which takes its rate from elsewhere or changes it. Pass"
            if kind is DelegatingItsRate
            else f"must read the learning rate that `SGDR` sets. Received: 7 updates of the optimizer {outer.name!r}"
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            fit(probe(outer), sgdr(optimizer=outer))


def batches(n: int) -> Iterator[tuple[Array, Array]]:
    yield from ((np.full((1, 1), i % STEPS, "float32"), np.ones((1, 1), "float32")) for i in range(n))


class Shrinking(keras.utils.PyDataset):
    """Loses a batch after two epochs. (Keras says once before the first that one has ended.)"""

    ended = 0

    def __len__(self) -> int:
        return STEPS - (self.ended > 2)

    def __getitem__(self, i: int) -> tuple[Array, Array]:
        return next(batches(1))

    def on_epoch_end(self) -> None:
        self.ended += 1


class TestBatches:
    @RAN_OUT
    @pytest.mark.filterwarnings("ignore:A training must complete a cycle:UserWarning")
    @pytest.mark.parametrize("steps_per_execution", [EXECUTIONS[0], *([2] if len(EXECUTIONS) > 1 else [])])
    def test_data_that_end_early(self, tmp_path: Any, steps_per_execution: int) -> None:
        """Seven batches where `fit` is told four an epoch: three in the second."""
        model, callback = probe(steps_per_execution=steps_per_execution), SGDR(2, 1)
        checkpoint = SnapshotCheckpoint(tmp_path)
        fit(model, callback, checkpoint, epochs=2, batches=batches(7), steps_per_epoch=4, shuffle=None)
        expected = WarmRestarts(2, 1, RATE).learning_rates(2, 4)[:7].astype("float32")
        np.testing.assert_array_equal(callback.rates, expected)
        assert model.history.history["learning_rate"] == [float(expected[3]), float(expected[6])]
        assert [row["complete"] for row in callback.cycles] == [False]
        assert not checkpoint.manifest.snapshots

    @RAN_OUT
    @pytest.mark.parametrize("steps_per_epoch", [4, 6])
    def test_another_number_than_given(self, steps_per_epoch: int) -> None:
        import tensorflow as tf

        endless = tf.data.Dataset.from_tensor_slices(data(5)).filter(lambda x, y: True).batch(1)
        message = (
            "Every epoch must have as many batches as the schedule was made for. Received: 5 batches in epoch 1, and "
            f"{steps_per_epoch} by `steps_per_epoch`. Pass `SGDR(steps_per_epoch=5)`."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            fit(probe(), sgdr(steps_per_epoch=steps_per_epoch), batches=endless)

    @RAN_OUT
    def test_data_that_shrink(self) -> None:
        message = (
            "Received: 6 batches in epoch 3, and 7 when training began. Let the data keep their number, or pass "
            "`steps_per_epoch` to `fit`."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            fit(probe(), sgdr(), batches=Shrinking())


class TestOthersThatSetTheRate:
    @pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
    @pytest.mark.parametrize("way", ["schedule", "assign", "value", "held"])
    def test_in_fit(self, hook: str, way: str) -> None:
        model = probe()
        held = model.optimizer.learning_rate

        class Sets(keras.callbacks.Callback):
            def strike(self, *_: Any, **__: Any) -> None:
                optimizer = self.model.optimizer
                if way == "schedule":
                    optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.9)
                elif way == "value":
                    optimizer.learning_rate.value = 0.5
                else:
                    (held if way == "held" else optimizer.learning_rate).assign(0.5)

        callback = Sets()
        setattr(callback, hook, callback.strike)
        with pytest.raises(
            ValueError, match=r"During `fit` only `SGDR` sets the learning rate\. Received: learning_rate="
        ):
            fit(model, sgdr(), callback)

    def test_reading_it_is_allowed(self) -> None:
        seen: list[float] = []

        class Reads(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                rate = self.model.optimizer.learning_rate
                seen.append(float(keras.ops.convert_to_numpy(rate)))
                assert float(rate.numpy()) == float(rate) == float(keras.ops.convert_to_tensor(rate)) == seen[-1]
                assert f"{seen[-1]:.6f}"[:5] in repr(rate)

        callback = sgdr()
        fit(probe(), callback, Reads())
        assert seen == [float(rate) for rate in callback.rates[::STEPS]]


class Changing(keras.optimizers.SGD):
    """Makes its updates at another rate than it has."""

    def _get_current_learning_rate(self) -> Any:
        return keras.ops.minimum(super()._get_current_learning_rate(), 0.05)


class TestOutsideEpochs:
    def test_before_the_first_epoch_there_is_the_own_rate(self) -> None:
        seen: list[float] = []

        class Reads(keras.callbacks.Callback):
            def on_train_begin(self, logs: Any = None) -> None:
                seen.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

        fit(probe(), sgdr(eta_max=0.3), Reads())
        assert seen == [np.float32(RATE)]

    def test_no_updates_between_two_epochs(self) -> None:
        class More(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                self.model.train_on_batch(*(part[:1] for part in data()))

        with pytest.raises(ValueError, match=r"Between two epochs there is no learning rate for an update\."):
            fit(probe(), sgdr(), More())


class TestTrainingsWithinTrainings:
    def test_of_the_same_model(self) -> None:
        class Inner(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                self.model.fit(*data(), verbose=0)

        with pytest.raises(ValueError, match=r"by one `fit` at a time where that is under `SGDR`\. Received: a"):
            fit(probe(), sgdr(), Inner())

    def test_with_the_same_callback(self) -> None:
        callback = sgdr()
        inner = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: fit(probe(), callback))
        with pytest.raises(ValueError, match="An `SGDR` serves one training at a time"):
            fit(probe(), callback, inner)

    def test_with_the_same_optimizer(self) -> None:
        optimizer = keras.optimizers.SGD(RATE)
        model = probe(optimizer)
        inner = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: fit(probe(optimizer), sgdr()))
        with pytest.raises(ValueError, match="An optimizer can have one `SGDR` at a time"):
            fit(model, sgdr(), inner)

    def test_called_by_another_callback(self) -> None:
        class Around(keras.callbacks.Callback):
            def __init__(self) -> None:
                super().__init__()
                self.inner = sgdr()
                for hook in ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end"):
                    setattr(self, hook, getattr(self.inner, hook))

            def set_model(self, model: Any) -> None:
                self.inner.set_model(model)

            def set_params(self, params: Any) -> None:
                self.inner.set_params(params)

        np.testing.assert_array_equal(fit(probe(), Around()), planned())


class TestWithoutUpdates:
    @pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning")
    def test_no_weights_to_train(self) -> None:
        model = probe()
        model.layers[-1].trainable = False
        model.compile(keras.optimizers.SGD(RATE), loss=gradient_is_target)
        callback = sgdr()
        assert not fit(model, callback).any()
        assert callback.rates.size == 0

    def test_no_epochs(self) -> None:
        callback = SGDR()
        probe().fit(*data(), epochs=0, verbose=0, callbacks=[callback])
        assert callback.cycles == []


@pytest.mark.parametrize(
    "value", [[], "sgd", {"a": 1}, [keras.optimizers.SGD(), None]], ids=["[]", "str", "dict", "with None"]
)
def test_what_is_no_optimizer(value: Any) -> None:
    with pytest.raises(ValueError, match=r"`optimizer` must be an optimizer of Keras, or a list of them\."):
        SGDR(1, optimizer=value)


def test_an_optimizer_that_changes_its_rate() -> None:
    with pytest.raises(ValueError, match="Received: Changing, which takes its rate from elsewhere or changes it"):
        fit(probe(Changing(RATE)), sgdr())


def test_a_used_callback_can_be_copied() -> None:
    callback = sgdr()
    fit(probe(), callback)
    for copied in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        np.testing.assert_array_equal(copied.rates, callback.rates)
        assert copied.cycles == callback.cycles


class TestRates:
    def test_between_two_batches(self) -> None:
        seen: list[Array] = []
        callback = sgdr()
        look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(callback.rates))
        fit(probe(), callback, look)
        assert [len(rates) for rates in seen] == list(range(1, 3 * STEPS + 1))
        np.testing.assert_array_equal(seen[-1], planned())

    def test_of_a_training_that_stops_inside_an_epoch(self) -> None:
        class Stop(keras.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                self.model.stop_training = batch == 3

        callback = sgdr()
        assert callback.rates.size == 0
        fit(probe(), callback, Stop())
        assert callback.rates.dtype == "float32"
        np.testing.assert_array_equal(callback.rates, planned(1)[:4])

    def test_after_an_exception(self) -> None:
        callback = sgdr()

        class Raise(keras.callbacks.Callback):
            epoch = 0

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self.epoch = epoch

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if (self.epoch, batch) == (1, 2):
                    raise InterruptedError

        model = probe()
        with pytest.raises(InterruptedError):
            fit(model, callback, Raise())
        np.testing.assert_array_equal(callback.rates, planned()[: STEPS + 3])
        fit(model, epochs=1)
        np.testing.assert_array_equal(callback.rates, planned()[: STEPS + 3])

    def test_held_through_epochs(self) -> None:
        callback = sgdr(per="epoch")
        fit(probe(), callback)
        np.testing.assert_array_equal(callback.rates, np.repeat(planned(steps=1), STEPS))


@pytest.mark.filterwarnings("ignore:.*mid-cycle:UserWarning")
def test_one_fit_per_epoch() -> None:
    """`initial_epoch` goes on where the last `fit` ended, as the warning of the mid-cycle says."""
    model, callback = probe(), sgdr()
    applied = [fit(model, callback, epochs=epoch + 1, initial_epoch=epoch) for epoch in range(3)]
    np.testing.assert_array_equal(np.concatenate(applied), planned())
