"""The cost of a step under SGDR, beside a constant rate and the alternatives.

`make bench` runs it and writes docs/benchmarks.md. Not part of `make test`: a bound on time says nothing on a machine
with other load.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.race import Race, Runner
from benchmarks.report import ratios, write
from keras_sgdr import SGDR, SGDRSchedule, WarmRestarts

# Cycles of 10, 20 and 40 epochs. The first is warm-up; each further epoch is a round.
T_0, T_MULT, ETA_MAX, EPOCHS = 10, 2, 0.1, 70
# By batches per execution: batches in an epoch, about a tenth of a second, and the bounds on the cost.
STEPS = {1: 200, 50: 1000}
BOUNDS = {1: {"SGDR": 1.03, "SGDRSchedule": 1.05}, 50: {"SGDR": 1.10}}


class PerBatch(keras.callbacks.Callback):
    """The usual recipe: assigns the rate before each batch (before each execution, where it has several batches)."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first = epoch * self.params["steps"]
        if epoch == 0:
            restarts = WarmRestarts(T_0, T_MULT, ETA_MAX)
            self._rates = restarts.learning_rates(self.params["epochs"], self.params["steps"]).tolist()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = self._rates[self._first + batch]


def contenders(steps: int) -> dict[str, tuple[Any, list[keras.callbacks.Callback]]]:
    """Learning rate and callbacks by name. The second constant rate shows the resolution of the measurement."""
    return {
        "constant rate": (ETA_MAX, []),
        "constant rate again": (ETA_MAX, []),
        "SGDR": (ETA_MAX, [SGDR(T_0, T_MULT)]),
        "SGDRSchedule": (SGDRSchedule(T_0, T_MULT, ETA_MAX, steps_per_epoch=steps), []),
        "Keras CosineDecayRestarts": (keras.optimizers.schedules.CosineDecayRestarts(ETA_MAX, T_0 * steps, T_MULT), []),
        "per-batch assignment": (ETA_MAX, [PerBatch()]),
    }


def runner(rate: Any, callbacks: list[keras.callbacks.Callback], steps: int, steps_per_execution: int) -> Runner:
    """A small dense network on the same batch of noise, whose step is mostly overhead."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(32, 32)).astype("float32"), generator.integers(0, 10, 32)
    dense = [keras.layers.Dense(64, "relu"), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((32,)), *dense])
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
    )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Costs less than slices of an array, and so hides less of the rest.
        data = {"x": tf.data.Dataset.from_tensors((x, y)).repeat(steps)}
    else:
        data = {"x": np.tile(x, (steps, 1)), "y": np.tile(y, steps), "batch_size": len(x)}
    return Runner(lambda all_: model.fit(**data, epochs=EPOCHS, callbacks=all_, shuffle=False, verbose=0), callbacks)


@pytest.fixture(scope="module")
def results() -> Iterator[dict[int, Any]]:
    """Rows by batches per execution; written when all have run, even if a bound failed."""
    collected: dict[int, Any] = {}
    yield collected
    write(collected, STEPS)


@pytest.mark.parametrize("steps_per_execution", STEPS)
def test_sgdr_step_costs_no_more_than_its_bound(
    benchmark: BenchmarkFixture, results: dict[int, Any], steps_per_execution: int
) -> None:
    steps = STEPS[steps_per_execution]
    runners = {name: runner(*contender, steps, steps_per_execution) for name, contender in contenders(steps).items()}
    race = Race(runners, warmup=T_0)
    benchmark.pedantic(race.round, rounds=EPOCHS - T_0)  # type: ignore[no-untyped-call]

    rows = results[steps_per_execution] = ratios(race.seconds, "constant rate", steps)
    benchmark.extra_info.update(rows)
    costs = {name: rows[name]["wall"]["median"] for name in BOUNDS[steps_per_execution]}
    assert {name: cost for name, cost in costs.items() if cost > BOUNDS[steps_per_execution][name]} == {}
