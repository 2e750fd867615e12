"""A step under `SGDR` and `SGDRSchedule`, beside what else sets a learning rate or leaves it constant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from benchmarks.parts.fits import EPOCHS, ETA_MAX, dense_runner
from benchmarks.race import race
from benchmarks.rows import Row, ratio
from benchmarks.settings import Settings
from keras_sgdr import SGDR, SGDRSchedule, WarmRestarts

__all__ = ["rows"]

T_0, T_MULT = 10, 2
STEPS = {1: 200, 50: 1000}  # Batches in an epoch by batches per execution: about a tenth of a second.
MOST, MOST_ON_TORCH, MOST_OF_GROUPS = 1.02, 1.05, 1.05
GROUPS = {"head": 1.0, "second": 0.3, "*": 0.1}
OTHERS = ("constant rate", "CosineDecayRestarts", "per-batch assignment")


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
    decay = keras.optimizers.schedules.CosineDecayRestarts(ETA_MAX, T_0 * steps, T_MULT)
    return {
        "constant rate": (ETA_MAX, []),
        "constant rate again": (ETA_MAX, []),
        "SGDR": (ETA_MAX, [SGDR(T_0, T_MULT)]),
        "SGDR, three groups": (ETA_MAX, [SGDR(T_0, T_MULT, rate_multipliers=GROUPS)]),
        "SGDRSchedule": (SGDRSchedule(T_0, T_MULT, ETA_MAX, steps_per_epoch=steps), []),
        "CosineDecayRestarts": (decay, []),
        "per-batch assignment": (ETA_MAX, [PerBatch()]),
    }


def rows(settings: Settings) -> Iterator[Row]:
    """Rows of the job's backend, with 1 and with 50 batches per execution."""
    backend = keras.backend.backend()
    # Keras allows no more than one on PyTorch.
    for batches in (1,) if backend == "torch" else STEPS:
        steps = STEPS[batches] // 10 if settings.small else STEPS[batches]
        runners = {name: dense_runner(*given, steps, batches) for name, given in contenders(steps).items()}
        seconds = race(runners, min(settings.rounds, EPOCHS // 2), settings.seconds)
        execution = "" if batches == 1 else f", {batches} batches an execution"
        for what in ("SGDR", "SGDRSchedule"):
            most = MOST_ON_TORCH if (what, backend) == ("SGDRSchedule", "torch") else MOST
            for against in OTHERS:
                name = f"step under {what}, {backend}{execution}"
                note = "sets one rate for all 50" if batches > 1 and against == "per-batch assignment" else ""
                yield ratio(name, against, seconds[what], seconds[against], most, per=steps, note=note)
        grouped, name = "SGDR, three groups", f"step under SGDR with three rate groups, {backend}{execution}"
        yield ratio(name, "SGDR", seconds[grouped], seconds["SGDR"], MOST_OF_GROUPS, per=steps)
        name = f"step under a constant rate, {backend}{execution}"
        note = "the resolution of these rows"
        yield ratio(
            name, "the same again", seconds["constant rate again"], seconds["constant rate"], per=steps, note=note
        )
