"""What a study costs: a further run over its bare `fit`, and heads trained together over a loop of `fit` calls.

Both take turns in one process. A further run is one of a further seed: reading what is there, the seed's weights, the
reset, training, the file. Its `fit` is that of the same traced model on the same batches. The loop of `fit` calls is
Keras's own: a head on the features, with the callback `SGDR`; a few of its calls are timed, and all of them counted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.rows import Row, ratio
from benchmarks.settings import Settings
from benchmarks.turns import seconds_of
from keras_sgdr import SGDR, Schedule
from keras_sgdr.data import drawn_insects
from keras_sgdr.study import Study, compared_schedules, tuning_schedules
from keras_sgdr.study.execution import train_runs, trainer_of

__all__ = ["rows"]

MOST_OVERHEAD, MOST_OF_LOOP = 1.03, 1 / 50
EPOCHS = 30
SAMPLES, VALIDATION, FEATURES, BATCH, SEEDS, HEAD_EPOCHS = 244, 153, 2048, 4, 20, 100


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


def further_run(folder: Path, rounds: int) -> Row:
    """Runs of further seeds and bare fits, in turns."""
    data = drawn_insects(SAMPLES, VALIDATION, 64)
    schedules = compared_schedules(0.01, EPOCHS)
    study = Study(network, data, schedules, seeds=rounds + 1, epochs=EPOCHS, batch_size=32, folder=folder)

    def train(seed: int) -> None:
        train_runs(study.store, [run for run in study.store.missing() if run.seed == seed])

    train(0)  # Builds and traces.
    trainer = trainer_of(study.spec)
    fit = trainer.fit
    fits_of_runs: list[float] = []

    def timed(*arguments: Any) -> None:
        began = time.perf_counter()
        fit(*arguments)
        fits_of_runs.append(time.perf_counter() - began)

    runs, fits = [], []
    for seed in range(1, rounds + 1):
        # As many before as after: what else the machine does falls on both.
        before = [seconds_of(partial(fit, seed)) for _ in range(len(schedules) // 2)]
        trainer.fit = timed  # type: ignore[method-assign,assignment]
        runs.append(seconds_of(partial(train, seed)) / len(schedules))
        trainer.fit = fit  # type: ignore[method-assign]
        after = [seconds_of(partial(fit, seed)) for _ in range(len(schedules) - len(before))]
        fits.append(sum(before + after) / len(schedules))
    beside = np.array(runs) - np.array(fits_of_runs).reshape(rounds, -1).mean(axis=1)
    note = f"{float(np.median(beside)):.2f} s beside its own `fit`"
    return ratio("further run of a study", "its bare `fit`", runs, fits, MOST_OVERHEAD, note=note)


def frozen(folder: Path) -> Iterator[Row]:
    """A study of heads, and as many calls of `fit`."""
    random = np.random.default_rng(0)
    labels = [np.arange(n) % 2 for n in (SAMPLES, VALIDATION)]
    x, x_val = (random.gamma(1.0, 0.4, (len(y), FEATURES)).astype("float32") for y in labels)
    data = (x, labels[0]), (x_val, labels[1])
    schedules = tuning_schedules(0.001)
    study = Study(head, data, schedules, seeds=SEEDS, epochs=HEAD_EPOCHS, batch_size=BATCH, frozen=True, folder=folder)
    together = seconds_of(partial(study.run, progress=False))

    def one_by_one(schedule: Schedule, **options: Any) -> None:
        model = compiled(head(), metrics=["accuracy"], **options)
        callbacks = [SGDR(schedule=schedule)]
        model.fit(*data[0], BATCH, HEAD_EPOCHS, validation_data=data[1], callbacks=callbacks, verbose=0)

    def loop(**options: Any) -> float:
        # Of those whose budget ends a cycle, so that nothing is warned of.
        chosen = [schedules["SGDR (50, 1)"], schedules["SGDR (100, 1)"]]
        return float(np.mean([seconds_of(partial(one_by_one, schedule, **options)) for schedule in chosen]))

    runs = SEEDS * len(schedules)
    what, note = f"{runs} heads of a study together", "two of its calls timed"
    yield ratio(what, "a loop of `fit`", [together], [loop() * runs], MOST_OF_LOOP, note=note)
    against = "a loop of `fit`, whole epochs an execution"
    yield ratio(what, against, [together], [loop(steps_per_execution=study.spec.steps) * runs], note=note)


def rows(settings: Settings) -> Iterator[Row]:
    """A row for a further run, and two for heads."""
    with tempfile.TemporaryDirectory() as folder:
        yield further_run(Path(folder, "runs"), settings.rounds)
        yield from frozen(Path(folder, "heads"))
