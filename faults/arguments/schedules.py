"""The schedules, and what is done with one."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from faults.arguments.target import Target, Used
from faults.trials import Fault
from keras_sgdr import SGDRSchedule, StepDecay, WarmRestarts
from keras_sgdr.schedules.exact import to_fraction

__all__ = ["LENGTHS", "METHODS", "RATES", "TARGETS", "check_config", "check_rates", "use_schedule"]

RATES: dict[str, tuple[Any, ...]] = {
    "eta_max": (0.1, 0.01, np.float32(0.05), [0.1, 0.05], np.array([0.1, 0.2]), 1, None),
    "eta_min": (0.0, 0, 1e-4, 0.001, [0.001, 0.0], Fraction(1, 1000)),
    "eta_max_decay": (1.0, 1, 0.5, 0.9),
    "eta_min_decay": (1.0, 1, 0.5, np.float64(0.9)),
}
LENGTHS: dict[str, tuple[Any, ...]] = {
    "T_0": (10, 1, 0.5, "1/3", Fraction(3, 7), 2.5, np.int64(2), np.float32(1.5), None),
    "T_mult": (1, 2, 1.5, "3/2", Fraction(4, 3), 0.5, 3, np.int64(2)),
    "warmup": (0, 1, 0.5, "1/3", Fraction(1, 4)),
    "cycle_limit": (None, 1, 2, 5, np.int64(3)),
    "end": ("exclusive", "inclusive"),
}
STEPS, EPOCHS = 4, 3


def use_schedule(used: Used) -> None:
    """Ask a schedule for everything, and see that its rates are within those asked for and survive its settings."""
    schedule = used.made.for_fit(EPOCHS, 0.1)
    repr(schedule)
    rates = schedule.learning_rates(EPOCHS, STEPS)
    check_rates(rates, schedule)
    positions = np.arange(EPOCHS * STEPS) / STEPS
    curve = schedule(positions)
    check_rates(curve, schedule)
    # On a grid of updates "inclusive" is another curve, and a position in float64 tells no cycle from
    # the next where these are short, and no begin from a begin just after it.
    exact = isinstance(schedule, StepDecay) or (
        schedule.end == "exclusive"
        and not 0 < to_fraction(schedule.warmup) < 1e-6
        and min(first := to_fraction(schedule.T_0), first * to_fraction(schedule.T_mult) ** 8) > 0.01
    )
    if exact and not np.allclose(curve, rates, rtol=1e-9, atol=1e-12 * rates.max()):
        raise Fault("wrong", f"{curve.tolist()} by position, {rates.tolist()} by update")
    check_config(used.made, lambda other: other.for_fit(EPOCHS, 0.1).learning_rates(EPOCHS, STEPS))
    cycles = list(itertools.islice(schedule.cycles(STEPS), 4))
    if any(one.end != other.start for one, other in itertools.pairwise(cycles)):
        raise Fault("wrong", f"cycles with gaps: {cycles}")
    ends = schedule.cycle_ends(50)
    if ends != sorted(ends) or (ends and ends[-1] > 50):
        raise Fault("wrong", f"ends of cycles {ends}")
    schedule.cycle_at(1.5)
    if isinstance(schedule, WarmRestarts):
        schedule.epochs_for(1 if schedule.cycle_limit else 3)
    for position in (0, 1e4, 1e300):
        check_rates(np.array(schedule(position)), schedule)


def check_rates(rates: Any, schedule: Any) -> None:
    """See that rates are finite, and within those that were asked for."""
    if isinstance(schedule, StepDecay):
        low, high = 0.0, float(schedule.eta) if schedule.gamma <= 1 else np.inf
    else:
        high, floor = np.max(schedule.eta_max), np.min(schedule.eta_min)
        low = floor if schedule.eta_min_decay == schedule.eta_max_decay == 1 else 0.0
    rates = np.asarray(rates)
    beyond = 1 + 4 * np.finfo(rates.dtype).eps
    if not (np.isfinite(rates).all() and (rates >= low / beyond).all() and (rates <= high * beyond).all()):
        raise Fault("wrong", f"rates from {rates.min()} to {rates.max()}, not within {low} and {high}")


def check_config(made: Any, rates_of: Any) -> None:
    """See that what is made anew from the settings, through JSON, gives the same rates."""
    config = json.loads(json.dumps(made.get_config()))
    if not np.array_equal(rates_of(type(made).from_config(config)), rates_of(made)):
        raise Fault("wrong", f"other rates after from_config({config})")


def use_in_graph(used: Used) -> None:
    """See that the schedule of the compiled step gives the rates of the one that it stands for."""
    schedule: SGDRSchedule = used.made
    steps = schedule.steps_per_epoch
    epochs = max(1, 12 // steps) if steps < 10_000 else 1
    exact = schedule.restarts.learning_rates(epochs, steps)[:12].astype("float32")
    check_rates(exact, schedule.restarts)
    given = [float(schedule(keras.ops.convert_to_tensor(k, "int32"))) for k in range(len(exact))]
    if not np.array_equal(np.array(given, "float32"), exact):
        raise Fault("wrong", f"{given}, not {exact.tolist()}")
    config = keras.saving.serialize_keras_object(schedule)
    again: Any = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    if [float(again(keras.ops.convert_to_tensor(k, "int32"))) for k in range(len(exact))] != given:
        raise Fault("wrong", f"other rates after {config}")


def use_plan(used: Used) -> None:
    """See that every proposal ends with the budget."""
    str(used.made)
    epochs = int(used.given["epochs"])
    for schedule in used.made[:3]:
        if not schedule.cycle_limit or schedule.epochs_for(schedule.cycle_limit) != epochs:
            raise Fault("wrong", f"{schedule} does not end after {epochs} epochs")


def finite(used: Used) -> None:
    """See that rates, if any, are finite."""
    if used.made is not None and not np.isfinite(np.asarray(used.made, float)).all():
        raise Fault("wrong", f"{used.made}")


SCHEDULE = WarmRestarts(10, 2, 0.1, 0.001)
SHORT = WarmRestarts("1/3", 1, 0.1, warmup=1, eta_max_decay=0.9)
DECAY = StepDecay(0.1, 3)


def _methods(schedule: Any, times: int) -> list[Target]:
    name = type(schedule).__name__
    whole = (1, 4, 100, np.int64(7))
    fit = {"epochs": whole, "steps_per_epoch": whole, "initial_epoch": (0, 1)}
    return [
        Target(f"{name}.learning_rates", schedule.learning_rates, fit, times, finite),
        Target(f"{name}.__call__", schedule.__call__, {"t": (0, 1.5, 30, np.arange(5), [0.5, 1])}, times, finite),
        Target(f"{name}.cycle_at", schedule.cycle_at, {"t": (0, 1.5, 30, np.float32(3))}, times),
        Target(f"{name}.cycle_ends", schedule.cycle_ends, {"epochs": (0, 10, 99.5, np.int64(70))}, times, finite),
        Target(f"{name}.epochs_for", schedule.epochs_for, {"n_cycles": (1, 3, np.int64(2))}, times, finite),
        Target(
            f"{name}.cycles",
            lambda steps_per_epoch: list(itertools.islice(schedule.cycles(steps_per_epoch), 5)),
            {"steps_per_epoch": whole},
            times,
        ),
        Target(
            f"{name}.cycles_from",
            lambda update, steps_per_epoch: list(itertools.islice(schedule.cycles_from(update, steps_per_epoch), 5)),
            {"update": (0, 4, 1000), "steps_per_epoch": whole},
            times,
        ),
        Target(
            f"{name}.for_fit",
            schedule.for_fit,
            {"epochs": whole, "learning_rate": (0.1, 0.01)},
            times,
        ),
    ]


TARGETS = (
    Target("WarmRestarts", WarmRestarts, {**LENGTHS, **RATES}, 1100, use_schedule),
    Target(
        "StepDecay",
        StepDecay,
        {"eta": (0.1, 1, np.float32(0.01)), "step_size": (60, 1, 0.5, "1/3", np.int64(3)), "gamma": (0.1, 1, 0.5)},
        250,
        use_schedule,
    ),
    Target(
        "SGDRSchedule",
        SGDRSchedule,
        {**LENGTHS, **RATES, "steps_per_epoch": (1, 4, 61, np.int64(10), 61.0), "name": ("rate", "SGDRSchedule")},
        400,
        use_in_graph,
    ),
    Target(
        "WarmRestarts.plan",
        WarmRestarts.plan,
        {"epochs": (1, 10, 70, 100, np.int64(30)), "n_cycles": (None, 1, 3, 5), "warmup": LENGTHS["warmup"]},
        250,
        use_plan,
    ),
)
METHODS = [*_methods(SCHEDULE, 40), *_methods(SHORT, 30), *_methods(DECAY, 20)]
