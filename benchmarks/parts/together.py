"""Runs of a study in one compiled step, over one run alone: the time of an epoch of each run, on JAX."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras

from benchmarks.rows import Row, ratio
from benchmarks.settings import Settings
from benchmarks.turns import take_turns
from keras_sgdr.data import drawn_insects
from keras_sgdr.models import resnet
from keras_sgdr.study import Study, compared_schedules
from keras_sgdr.study.together import TogetherTrainer
from keras_sgdr.study.trainer import Trainer

__all__ = ["rows"]

MOST = 0.5  # Eight processes that take turns on a card gain a factor of 2.
NUMBERS = (4, 8, 16, 32)
SIZE, BATCH, SAMPLES, VALIDATION = 64, 4, 244, 153


def network() -> Any:
    model = resnet(50, classes=2, input_shape=(SIZE, SIZE, 3), preprocess=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.001, momentum=0.9), loss=loss)
    return model


def rows(settings: Settings) -> Iterator[Row]:
    """A row for each number of runs, after which compilation is not counted."""
    samples, validation, numbers = (16, 8, (2,)) if settings.small else (SAMPLES, VALIDATION, NUMBERS)
    data = drawn_insects(samples, validation, SIZE)
    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            network,
            data,
            compared_schedules(0.001, 100),
            seeds=max(numbers),
            epochs=100,
            batch_size=BATCH,
            folder=Path(folder),
        )
        alone, together = Trainer(study.spec), TogetherTrainer(study.spec)
        runs = study.store.runs

        def epoch_alone() -> float:
            return alone.run(runs[0].schedule, runs[0].seed, stop=lambda: True).seconds

        def epoch_together(number: int) -> float:
            results = together.run_together(dict.fromkeys(runs[:number]), stop=lambda: True)
            return results[0].seconds / number

        epoch_alone()  # Compiles.
        for number in numbers:
            epoch_together(number)
            turns: dict[str, Callable[[], float]] = {"together": partial(epoch_together, number), "alone": epoch_alone}
            seconds = take_turns(turns, settings.rounds, settings.seconds)
            what = f"epoch of each of {number} runs together, ResNet-50, {SIZE} px, batch {BATCH}"
            yield ratio(what, "one run alone", seconds["together"], seconds["alone"], MOST)
