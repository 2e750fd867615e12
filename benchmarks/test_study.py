"""What a study costs: a further run over its bare `fit`, and heads trained together over a loop of `fit` calls.

Both take turns in one process. A further run is one of a further seed: reading what is there, the seed's weights, the
reset, training, the file. Its `fit` is that of the same traced model on the same batches. The loop
of `fit` calls is Keras's own: a head on the features, with the callback `SGDR`; a few of its calls are timed, and all
of them counted. `make bench` runs it and writes docs/study_cost.json.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR, Schedule
from keras_sgdr.data import drawn_insects
from keras_sgdr.environment import environment
from keras_sgdr.study import Study, compared_schedules, tuning_schedules
from keras_sgdr.study.execution import train_runs, trainer_of

MOST_OVERHEAD, LEAST_SPEEDUP, MOST_SECONDS = 1.03, 50, 60
ROUNDS, EPOCHS = 5, 30
SAMPLES, VALIDATION, FEATURES, BATCH, SEEDS, HEAD_EPOCHS = 244, 153, 2048, 4, 20, 100
RESULT = Path(__file__).resolve().parents[1] / "docs" / "study_cost.json"


def network() -> Any:
    """A convolutional network whose epoch takes about a hundredth of a ResNet-50's: the harder case."""
    layers: list[Any] = [keras.Input((56, 56, 3)), keras.layers.Rescaling(1 / 255)]
    for filters in (16, 32, 64):
        layers.append(keras.layers.Conv2D(filters, 3, 2, "same", use_bias=False))
        layers += [keras.layers.BatchNormalization(), keras.layers.ReLU()]
    model = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    return compiled(model)


def head() -> Any:
    return compiled(keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(2)]))


def compiled(model: Any, **options: Any) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.001, momentum=0.9), loss=loss, jit_compile=False, **options)
    return model


def seconds(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def quartiles(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in np.percentile(values, (25, 50, 75))]


def further_run(folder: Path) -> dict[str, Any]:
    """Seconds of the runs of further seeds and of bare fits, in turns, and what a run takes beside its own `fit`."""
    data = drawn_insects(SAMPLES, VALIDATION, 64)
    schedules = compared_schedules(0.01, EPOCHS)
    study = Study(network, data, schedules, seeds=ROUNDS + 1, epochs=EPOCHS, batch_size=32, folder=folder)

    def train(seed: int) -> None:
        train_runs(study.store, [run for run in study.store.missing() if run.seed == seed])

    train(0)  # Builds and traces.
    trainer = trainer_of(study.spec)
    fit = trainer.fit
    fits_of_runs: list[float] = []

    def timed(seed: int) -> Any:
        began = time.perf_counter()
        history = fit(seed)
        fits_of_runs.append(time.perf_counter() - began)
        return history

    runs, fits = [], []
    for seed in range(1, ROUNDS + 1):
        # As many before as after: what else the machine does falls on both.
        before = [seconds(partial(fit, seed)) for _ in range(len(schedules) // 2)]
        trainer.fit = timed  # type: ignore[method-assign]
        runs.append(seconds(partial(train, seed)) / len(schedules))
        trainer.fit = fit  # type: ignore[method-assign]
        after = [seconds(partial(fit, seed)) for _ in range(len(schedules) - len(before))]
        fits.append(sum(before + after) / len(schedules))
    beside = np.array(runs) - np.array(fits_of_runs).reshape(ROUNDS, -1).mean(axis=1)
    return {
        "schedules": len(schedules),
        "run": quartiles(runs),
        "fit": quartiles(fits),
        "ratio": quartiles(list(np.array(runs) / np.array(fits))),
        "beside its own fit": quartiles(list(beside)),
    }


def frozen(folder: Path) -> dict[str, Any]:
    """Seconds of a study of heads, and of as many calls of `fit`."""
    random = np.random.default_rng(0)
    labels = [np.arange(n) % 2 for n in (SAMPLES, VALIDATION)]
    x, x_val = (random.gamma(1.0, 0.4, (len(y), FEATURES)).astype("float32") for y in labels)
    data = (x, labels[0]), (x_val, labels[1])
    schedules = tuning_schedules(0.001)
    study = Study(head, data, schedules, seeds=SEEDS, epochs=HEAD_EPOCHS, batch_size=BATCH, frozen=True, folder=folder)
    together = seconds(partial(study.run, progress=False))

    def one_by_one(schedule: Schedule, **options: Any) -> None:
        model = compiled(head(), metrics=["accuracy"], **options)
        callbacks = [SGDR(schedule=schedule)]
        model.fit(*data[0], BATCH, HEAD_EPOCHS, validation_data=data[1], callbacks=callbacks, verbose=0)

    def loop(**options: Any) -> float:
        # Of those whose budget ends a cycle, so that nothing is warned of.
        chosen = [schedules["SGDR (50, 1)"], schedules["SGDR (100, 1)"]]
        return float(np.mean([seconds(partial(one_by_one, schedule, **options)) for schedule in chosen]))

    runs = SEEDS * len(schedules)
    plain, whole_epochs = loop() * runs, loop(steps_per_execution=study.spec.steps) * runs
    return {
        "runs": runs,
        "together": round(together, 2),
        "loop": round(plain, 1),
        "loop of whole epochs an execution": round(whole_epochs, 1),
        "ratio": round(plain / together, 1),
    }


@pytest.mark.benchmark
def test_a_further_run_costs_what_its_fit_does(tmp_path: Path, benchmark: Any) -> None:
    cost = benchmark.pedantic(lambda: further_run(tmp_path), rounds=1)
    keep("further run", cost)
    assert cost["ratio"][1] < MOST_OVERHEAD


@pytest.mark.benchmark
def test_heads_are_trained_together_in_a_fraction_of_the_time(tmp_path: Path, benchmark: Any) -> None:
    cost = benchmark.pedantic(lambda: frozen(tmp_path), rounds=1)
    keep("frozen", cost)
    assert cost["together"] < MOST_SECONDS
    assert cost["ratio"] > LEAST_SPEEDUP


def keep(name: str, cost: dict[str, Any]) -> None:
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.write_text(json.dumps({**kept, name: {**cost, **environment()}}, indent=2) + "\n")
