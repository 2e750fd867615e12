"""One update, wherever in the schedule it is, however many cycles it has and rates its table holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras

from benchmarks.parts.fits import EPOCHS, ETA_MAX, dense_runner
from benchmarks.race import Runner, race
from benchmarks.rows import Row, ratio
from benchmarks.settings import Settings
from keras_sgdr import SGDR, SGDRSchedule

__all__ = ["rows"]

STEPS = 200  # Batches in an epoch.
MOST = 1.05
POSITIONS = (10**2, 10**5, 10**7)
CYCLES = (10, 10**4)


def rows(settings: Settings) -> Iterator[Row]:
    """Rows of the job's backend: `SGDR` and `SGDRSchedule`, each in a race of its own."""
    backend = keras.backend.backend()
    rounds = min(settings.rounds, EPOCHS // 2)
    for what, runner in (("SGDR", callback_runner), ("SGDRSchedule", schedule_runner)):
        seconds = race(cases(runner), rounds, settings.seconds / 2)
        first, *others = seconds
        for name in others:
            yield ratio(
                f"update under {what}, {backend}: {name}", first, seconds[name], seconds[first], MOST, per=STEPS
            )


def cases(runner: Callable[..., Runner]) -> dict[str, Runner]:
    """Runners by name; all are compared with the first."""
    runners = {f"position {position:,}": runner(position=position) for position in POSITIONS}
    runners |= {f"{cycles:,} cycles": runner(cycles=cycles) for cycles in CYCLES}
    if runner is callback_runner:
        runners["a table of 10,000,000 rates"] = runner(rates=10**7)
    return runners


def callback_runner(position: int = 0, cycles: int = 0, rates: int = EPOCHS * STEPS) -> Runner:
    """A `fit` under `SGDR` that begins at a position (updates), has so many cycles, or so many rates."""
    start = position // STEPS
    sgdr = SGDR(EPOCHS / cycles, 1) if cycles else SGDR(10, 2)
    return dense_runner(ETA_MAX, [sgdr], STEPS, initial_epoch=start, epochs=start + rates // STEPS)


def schedule_runner(position: int = 0, cycles: int = 0) -> Runner:
    """A `fit` with `SGDRSchedule`, the same."""
    T_0, T_mult = (EPOCHS / cycles, 1) if cycles else (10, 2)
    schedule = SGDRSchedule(T_0, T_mult, ETA_MAX, steps_per_epoch=STEPS)

    def move(model: Any) -> None:
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(position)

    return dense_runner(schedule, [], STEPS, prepare=move)
