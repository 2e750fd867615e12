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
RATES = 10**7


def rows(settings: Settings) -> Iterator[Row]:
    """Rows of the job's backend: `SGDR` and `SGDRSchedule`, each in a race of its own."""
    backend = keras.backend.backend()
    rounds = min(settings.rounds, EPOCHS // 2)
    steps = STEPS // 10 if settings.small else STEPS
    for what, runner in (("SGDR", callback_runner), ("SGDRSchedule", schedule_runner)):
        seconds = race(cases(runner, steps), rounds, settings.seconds / 2)
        first, *others = seconds
        for name in others:
            yield ratio(
                f"update under {what}, {backend}: {name}", first, seconds[name], seconds[first], MOST, per=steps
            )


def cases(runner: Callable[..., Runner], steps: int) -> dict[str, Runner]:
    """Runners by name; all are compared with the first."""
    runners = {f"position {position:,}": runner(steps, position=position) for position in POSITIONS}
    runners |= {f"{cycles:,} cycles": runner(steps, cycles=cycles) for cycles in CYCLES}
    if runner is callback_runner:
        runners[f"a table of {RATES:,} rates"] = runner(steps, epochs=RATES // steps)
    return runners


def callback_runner(steps: int, position: int = 0, cycles: int = 0, epochs: int = EPOCHS) -> Runner:
    """A `fit` under `SGDR` that begins at a position (updates), has so many cycles, or would last so many epochs."""
    start = position // steps
    sgdr = SGDR(EPOCHS / cycles, 1) if cycles else SGDR(10, 2)
    return dense_runner(ETA_MAX, [sgdr], steps, initial_epoch=start, epochs=start + epochs)


def schedule_runner(steps: int, position: int = 0, cycles: int = 0) -> Runner:
    """A `fit` with `SGDRSchedule`, the same."""
    T_0, T_mult = (EPOCHS / cycles, 1) if cycles else (10, 2)
    schedule = SGDRSchedule(T_0, T_mult, ETA_MAX, steps_per_epoch=steps)

    def move(model: Any) -> None:
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(position)

    return dense_runner(schedule, [], steps, prepare=move)
