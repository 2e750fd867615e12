"""Every batch is applied with the promised rate, however `fit` executes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR, Cycle, Schedule, StepDecay, WarmRestarts
from tests.support.probe import (
    BACKEND,
    COMPILED,
    EXECUTIONS,
    RATE,
    STEPS,
    Array,
    data,
    fit,
    planned,
    probe,
    sgdr,
    two_probes,
    unknown_length,
)


@pytest.mark.parametrize(
    ("steps_per_execution", "jit_compile"),
    [(steps, jit) for steps in EXECUTIONS for jit in COMPILED if not jit or steps == EXECUTIONS[-1]],
)
def test_executions(steps_per_execution: int, jit_compile: bool) -> None:
    model = probe(steps=9, steps_per_execution=steps_per_execution, jit_compile=jit_compile)
    np.testing.assert_array_equal(fit(model, sgdr()), planned(steps=9))


def test_the_probe_can_tell() -> None:
    """The control: the rates of one update later, and a callback per batch as Keras has it, are told apart."""
    later = WarmRestarts(1, 2, RATE).learning_rates(4, STEPS)[1:][: 3 * STEPS].astype("float32")
    assert np.sum(fit(probe(), sgdr()) != later) > STEPS
    np.testing.assert_array_equal(fit(probe()), np.full(3 * STEPS, RATE, "float32"))


def test_run_eagerly() -> None:
    np.testing.assert_array_equal(fit(probe(run_eagerly=True), sgdr()), planned())


@pytest.mark.parametrize("built", [True, False])
def test_model_that_is_built_by_fit(built: bool) -> None:
    np.testing.assert_array_equal(fit(probe(built=built), sgdr()), planned())


@pytest.mark.parametrize(
    "options",
    [
        {"T_0": 2, "T_mult": 1, "eta_max": 0.3, "eta_min": 0.01},
        {"T_0": 0.5, "T_mult": 1.5, "cycle_limit": 3, "eta_max": [0.3, 0.2, 0.1]},
        {"warmup": 1, "cycle_limit": 2, "eta_max_decay": 0.5, "end": "inclusive"},
        {"T_0": "1/3", "T_mult": 1, "eta_max": 2.0},
    ],
    ids=lambda options: ",".join(options),
)
@pytest.mark.filterwarnings("ignore:.*mid-cycle:UserWarning")
def test_schedules(options: dict[str, Any]) -> None:
    np.testing.assert_array_equal(fit(probe(), sgdr(**options), epochs=5), planned(5, **options))


@pytest.mark.parametrize("eta_max", [0.1, 0.3, 1e-3, 2.5e-6])
def test_rates_count_from_the_float_that_was_written(eta_max: float) -> None:
    """`SGD(0.1)` holds float32(0.1); its schedule is that of 0.1, as if `eta_max` had been given."""
    model = probe(keras.optimizers.SGD(eta_max))
    np.testing.assert_array_equal(fit(model, sgdr()), planned(eta_max=eta_max))


def test_unequal_last_batch() -> None:
    batches = data(batch_size=4)
    assert len(batches[0]) == 4 * STEPS - 1
    np.testing.assert_array_equal(fit(probe(), sgdr(), batches=batches, batch_size=4), planned())


def accumulated(epochs: int, window: int) -> Array:
    """What each weight is moved by where an update averages a window of batches and applies its last batch's rate."""
    rates, moved = planned(epochs), np.zeros((epochs, STEPS), "float32")
    for last in range(window - 1, len(rates), window):
        for batch in range(last - window + 1, last + 1):
            moved[last // STEPS, batch % STEPS] += rates[last] / np.float32(window)
    return moved.ravel()


@pytest.mark.parametrize("window", [2, 8])
def test_gradient_accumulation_counts_batches(window: int) -> None:
    # In epochs of 7: some of 2 span two epochs, and in the first there is no update of 8.
    model = probe(keras.optimizers.SGD(RATE, gradient_accumulation_steps=window))
    np.testing.assert_array_equal(fit(model, sgdr(), epochs=7), accumulated(7, window))


class TestLossScaling:
    @pytest.fixture
    def _mixed_float16(self) -> Any:
        keras.config.set_dtype_policy("mixed_float16")
        yield
        keras.config.set_dtype_policy("float32")

    @pytest.mark.usefixtures("_mixed_float16")
    @pytest.mark.parametrize("steps_per_execution", [1] if BACKEND == "torch" else [1, 5])
    @pytest.mark.parametrize("skipped", [[0], [STEPS - 1], [1, 2, 5]])
    def test_skipped_batches_keep_their_positions(self, skipped: list[int], steps_per_execution: int) -> None:
        gradients = [np.inf if i in skipped else 1.0 for i in range(STEPS)]
        expected = planned().reshape(-1, STEPS)
        expected[:, skipped] = 0
        model = probe(steps_per_execution=steps_per_execution)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        applied = fit(model, sgdr(), batches=data(gradients=gradients))
        np.testing.assert_array_equal(applied, expected.ravel())
        assert int(model.optimizer.iterations) == 3 * (STEPS - len(skipped))

    def test_a_fit_after_skipped_batches(self) -> None:
        """The iterations lag behind the batches then, and nothing slips."""
        model = probe(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE)))
        assert not fit(model, sgdr(), epochs=1, batches=data(gradients=[np.inf] * STEPS)).any()
        np.testing.assert_array_equal(fit(model, sgdr(), initial_epoch=1), planned(first=1))

    def test_with_accumulation(self) -> None:
        inner = keras.optimizers.SGD(RATE, gradient_accumulation_steps=2)
        model = probe(keras.optimizers.LossScaleOptimizer(inner))
        np.testing.assert_array_equal(fit(model, sgdr(), epochs=3), accumulated(3, 2))


class TestHeldThroughAnEpoch:
    expected = np.repeat(planned(steps=1), STEPS)

    def test_known_steps(self) -> None:
        np.testing.assert_array_equal(fit(probe(), sgdr(per="epoch")), self.expected)

    @pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
    @pytest.mark.parametrize("steps_per_epoch", [None, STEPS])
    def test_unknown_steps(self, steps_per_epoch: int | None) -> None:
        callback = sgdr(per="epoch", steps_per_epoch=steps_per_epoch)
        np.testing.assert_array_equal(fit(probe(), callback, batches=unknown_length()), self.expected)
        assert [row["complete"] for row in callback.cycles] == [True, True]


class Numbered(keras.utils.PyDataset):
    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, i: int) -> tuple[Array, Array]:
        return np.full((1, 1), i, "float32"), np.ones((1, 1), "float32")


def endless() -> Iterator[tuple[Array, Array]]:
    while True:
        for i in range(STEPS):
            yield Numbered()[i]


class TestData:
    def test_py_dataset(self) -> None:
        np.testing.assert_array_equal(fit(probe(), sgdr(), batches=Numbered()), planned())

    def test_generator(self) -> None:
        applied = fit(probe(), sgdr(), batches=endless(), steps_per_epoch=STEPS, shuffle=None)
        np.testing.assert_array_equal(applied, planned())

    def test_tf_data(self) -> None:
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensor_slices(data()).batch(1)
        np.testing.assert_array_equal(fit(probe(), sgdr(), batches=batches), planned())

    @pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
    def test_unknown_length(self) -> None:
        applied = fit(probe(), sgdr(steps_per_epoch=STEPS), batches=unknown_length())
        np.testing.assert_array_equal(applied, planned())


class TestMultiOptimizer:
    @staticmethod
    def choosing() -> Any:
        first, second = keras.optimizers.SGD(0.1, name="one"), keras.optimizers.SGD(0.3, name="other")
        return lambda variable: first if variable.path.startswith("first") else second

    @staticmethod
    def mapping() -> Any:
        optimizers = {"first/.*": keras.optimizers.SGD(0.1, name="one")}
        return keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.3, name="other"), optimizers)

    @pytest.mark.parametrize("kind", ["choosing", "mapping"])
    @pytest.mark.parametrize(("eta_max", "scaled"), [(None, False), (0.2, False), (None, True)])
    def test_each_its_own_rate(self, kind: str, eta_max: float | None, scaled: bool) -> None:
        optimizer = keras.optimizers.MultiOptimizer(getattr(self, kind)())
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model = two_probes(optimizer)
        applied = fit(model, sgdr(eta_max=eta_max), batches=data()).reshape(-1, 2, STEPS)
        peaks = (0.1, 0.3) if eta_max is None else (eta_max, eta_max)
        expected = [planned(eta_max=peak).reshape(-1, STEPS) for peak in peaks]
        np.testing.assert_array_equal(applied, np.stack(expected, axis=1))
        history = model.history.history
        assert history["learning_rate"] == history["learning_rate_one"] == [float(rates[-1]) for rates in expected[0]]
        assert history["learning_rate_other"] == [float(rates[-1]) for rates in expected[1]]

    def test_an_optimizer_without_variables(self) -> None:
        idle = {"third/.*": keras.optimizers.SGD(0.5, name="idle"), ".*": keras.optimizers.SGD(0.1, name="all")}
        default = keras.optimizers.SGD(0.3, name="other")
        model = two_probes(keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(default, idle)))
        fit(model, sgdr(), batches=data())
        history = model.history.history
        assert history["learning_rate_all"] == [float(rate) for rate in planned()[STEPS - 1 :: STEPS]]
        assert history["learning_rate_idle"] == [float(rate) for rate in planned(eta_max=0.5)[STEPS - 1 :: STEPS]]


class Triangle(Schedule):
    """A schedule of a user's own: it falls in a straight line, every second epoch."""

    def __call__(self, t: Any) -> Any:
        return 0.5 * (1 - np.asarray(t) % 1)

    def cycles(self, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        for i in itertools.count():
            yield Cycle.of(i, Fraction(2 * i), Fraction(1), steps_per_epoch)


@pytest.mark.parametrize("schedule", [StepDecay(0.2, step_size=2), StepDecay(0.2, step_size=0.5), Triangle()])
def test_other_schedules(schedule: Any) -> None:
    expected = schedule.learning_rates(4, STEPS).astype("float32")
    assert len(set(expected)) > 1
    callback = SGDR(schedule=schedule)
    np.testing.assert_array_equal(fit(probe(), callback, epochs=4), expected)
    if isinstance(schedule, Triangle):
        assert [(row["index"], row["complete"]) for row in callback.cycles] == [
            (0, True),
            (-1, False),
            (1, True),
            (-1, False),
        ]
