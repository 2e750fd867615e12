"""What a callback cannot be told: the other callbacks of its `fit`, and what `fit` was called with.

Keras hands a callback no list of the others, so both are read from the calling frames.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import sys
import warnings
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_sgdr._checks import invalid, is_number, require, users_level, warn
from keras_sgdr._folder_lock import FolderLock
from keras_sgdr.schedules import Schedule, WarmRestarts
from keras_sgdr.schedules.exact import FloatArray, to_fraction

__all__ = [
    "calling_list",
    "check_schedule",
    "fits_of",
    "fits_steps",
    "folder_of_fit",
    "is_fitting",
    "known_steps",
    "move_to_front",
    "other_callbacks",
    "postponed",
    "print_line",
    "question_order",
    "refuse_other_rate_setters",
    "warn_of_early_stopping",
    "warn_of_mid_cycle",
    "write_rates",
]

# What is passed as `T_0` by mistake, and what to do.
_OF_OTHER_ARGUMENTS = {
    Schedule: "Pass a schedule as `SGDR(schedule=...)`.",
    keras.optimizers.Optimizer: "Compile the model with the optimizer, whose rate `SGDR` sets.",
}


def other_callbacks(callback: Any) -> list[Any]:
    """The other callbacks of the `fit` that is calling, none outside one."""
    calling = calling_list()
    return [other for other in (calling["self"].callbacks if calling is not None else []) if other is not callback]


def move_to_front(callback: Any) -> None:
    """Let a callback be called before the others of its `fit`, so that they find in the logs what it puts there.

    To be called by a hook of the callback. The list is being gone through then, and goes on after the callback's place.
    """
    calling = calling_list()
    if calling is not None:
        callbacks = calling["self"].callbacks
        # None where another callback calls this one's hooks.
        place = next((i for i, each in enumerate(callbacks) if each is callback), None)
        if place is not None:
            callbacks.insert(0, callbacks.pop(place))


def postponed(callback: Any) -> bool:
    """Whether the hook of a callback that calls this is called again, after those of all the others."""
    calling = calling_list()
    callbacks = [] if calling is None else calling["self"].callbacks
    if not callbacks or callbacks[-1] is callback:
        if sum(each is callback for each in callbacks) > 1:
            callbacks.pop()
        return False
    # The list is being gone through.
    callbacks.append(callback)
    return True


def refuse_other_rate_setters(callback: Any) -> None:
    """Refuse other callbacks that set the learning rate, and the same one a second time.

    Raises:
        ValueError: Naming them.
    """
    calling = calling_list()
    if calling is not None and sum(each is callback for each in calling["self"].callbacks) > 1:
        rule, received = "A callback must be listed once.", f"the same `{type(callback).__name__}` twice"
        raise invalid(rule, received, "Leave out one of the two.")
    setters = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau, type(callback))
    names = [type(other).__name__ for other in other_callbacks(callback) if isinstance(other, setters)]
    if names:
        own = type(callback).__name__
        others = [f"another `{own}`" if name == own else name for name in names]
        received = f"`{own}` and {', '.join(others)}"
        raise invalid("Only one callback may set the learning rate.", received, "Leave out one of them.")


def print_line(line: str) -> None:
    """Print a line, or log it where `keras.config.disable_interactive_logging()` asks for that."""
    if keras.config.is_interactive_logging_enabled():
        print(line)
    else:
        logging.getLogger("absl").info(line)  # As Keras does.


def write_rates(board: Any, rates: FloatArray, first: int) -> None:
    """Let a `TensorBoard` callback have the rates of consecutive updates, of which `first` is the number of the first.

    All at once and beside Keras's own `batch_loss`, so that they cost the step nothing.
    """
    with board._train_writer.as_default():
        for update, rate in enumerate(rates, first):
            board.summary.scalar("batch_learning_rate", rate, step=update)


def calling_list() -> dict[str, Any] | None:
    """The local variables of the `CallbackList` that is calling, None outside one."""
    for frame in _calling_frames():
        if isinstance(frame.f_locals.get("self"), keras.callbacks.CallbackList):
            return frame.f_locals
    return None


def is_fitting(model: Any) -> bool:
    """Whether this was called from `fit` of the model."""
    return next(_fits(model), None) is not None


def fits_of(model: Any) -> int:
    """Number of calls of `fit` of the model, one within another, from which this was called."""
    return sum(1 for _ in _fits(model))


def fits_steps(model: Any) -> int | None:
    """The `steps_per_epoch` that `fit` of the model was called with."""
    return next((steps for frame in _fits(model) if (steps := frame.f_locals.get("steps_per_epoch"))), None)


def folder_of_fit(callback: Any, folder: Path) -> FolderLock:
    """Take a folder for the `fit` that is calling, until `release` or its end.

    Raises:
        ValueError: If another training has it, or it cannot be written into.
    """
    calling = calling_list()
    # No callback is told that an exception has ended a `fit`, but its list of callbacks ends with it, or where what was
    # raised is kept, with that.
    caller = callback if calling is None else calling["self"]
    weak = weakref.ref(caller)
    lock = FolderLock(folder, lambda: weak() is None or not _is_running(weak()))
    weakref.finalize(caller, lock.release)
    return lock


def _is_running(callbacks: Any) -> bool:
    """Whether a `fit` that calls this `CallbackList` is being run, in any thread."""
    return any(
        frame.f_code.co_name == "fit" and frame.f_locals.get("callbacks") is callbacks
        for innermost in sys._current_frames().values()
        for frame in _frames_from(innermost)
    )


def _fits(model: Any) -> Iterator[Any]:
    return (each for each in _calling_frames() if each.f_code.co_name == "fit" and each.f_locals.get("self") is model)


def _calling_frames() -> Iterator[Any]:
    # Without those of this module, whose variables hold frames: a circle of references would keep all that `fit` holds.
    return itertools.dropwhile(lambda frame: frame.f_code.co_filename == __file__, _frames_from(inspect.currentframe()))


def _frames_from(frame: Any) -> Iterator[Any]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def known_steps(params: dict[str, Any], given: int | None, per: str) -> tuple[int | None, bool]:
    """Batches in an epoch of the training, None where they need not be known; and whether Keras knows them.

    Args:
        params: Of the callback.
        given: Its `steps_per_epoch`.
        per: Its `per`.
    """
    if not params or "epochs" not in params:
        raise invalid(
            "`SGDR` must be told how long the training is.",
            f"params={params}",
            'In a loop of your own call `set_params({"epochs": ..., "steps": ...})` before `on_train_begin()`, or '
            "use `keras.callbacks.CallbackList(callbacks, model=..., epochs=..., steps=...)`.",
        )
    known = params.get("steps")
    if known is None and given is None and per == "batch":
        raise invalid(
            "`SGDR` needs the number of batches in an epoch, and Keras does not know it for this data.",
            "steps_per_epoch=None",
            'Pass `steps_per_epoch` to `SGDR` or to `fit`, or use `SGDR(per="epoch")`.',
        )
    if known is not None and given not in (None, known):
        raise invalid(
            "`steps_per_epoch` must be what `fit` runs.",
            f"steps_per_epoch={given}, while `fit` runs {known}",
            "Leave it out: Keras knows it for this data.",
        )
    steps = given if known is None else known
    return None if steps is None else int(steps), known is not None


def warn_of_mid_cycle(schedule: Schedule, epochs: int) -> None:
    """Warn of a training that ends before its last cycle does, or goes on after it for no reason."""
    cycle = next(schedule.cycles_from(epochs), None)
    if cycle is not None and cycle.start < epochs:
        warnings.warn(
            f"`epochs={epochs}` ends training in mid-cycle, where the learning rate has not come down. That "
            f"cycle lasts from {float(cycle.start):g} to {float(cycle.end):g} epochs"
            f"{'' if cycle.index else ' (`T_0` is in epochs, not in steps)'}. Train for as many, or leave "
            "out `T_0`, so that the cycles fill the epochs. To go on in another `fit`, pass it "
            f"`initial_epoch={epochs}`.",
            stacklevel=users_level(),
        )
    if cycle is None and isinstance(schedule, WarmRestarts) and schedule.cycle_limit is None:
        # Of cycles without a limit only those that become shorter come to an end.
        T_0, T_mult, warmup = (to_fraction(each or 0) for each in (schedule.T_0, schedule.T_mult, schedule.warmup))
        end = warmup + T_0 / (1 - T_mult)
        if end < epochs:
            warn(
                "Cycles that become shorter, as with a `T_mult` below 1, come to an end.",
                f"T_mult={float(T_mult):g}, whose last cycle ends after {float(end):g} epochs, and epochs={epochs}, "
                "of which the rest is trained at `eta_min`",
                f"Train for {float(end):g} epochs, or pass a `T_mult` of 1 or more.",
            )


def warn_of_early_stopping(callback: Any, schedule: Schedule, epochs: int) -> None:
    """Warn of an `EarlyStopping` that may end the training while the rate is high after a restart."""
    last = next(schedule.cycles_from(epochs - 1), None)
    if last is None or not last.index:
        return
    for other in other_callbacks(callback):
        if isinstance(other, keras.callbacks.EarlyStopping) and other.patience < last.length:
            warn(
                "Early stopping must outwait a cycle, as losses may rise after each restart.",
                f"EarlyStopping(patience={other.patience}), in epochs, beside a cycle of {float(last.length):g} epochs",
                "Use `keras_sgdr.CycleEarlyStopping`, whose patience counts cycles.",
            )


def check_schedule(schedule: Any, others: Sequence[str]) -> None:
    """Require a schedule, beside which no others of the arguments that describe one were given."""
    rule, fix = "`schedule` must be a `keras_sgdr.Schedule`.", "Pass a `WarmRestarts`, a `StepDecay`, or your own."
    require(isinstance(schedule, Schedule), rule, "schedule", schedule, fix)
    rule = f"`schedule` takes the place of the values of the cycles, such as {', '.join(others)}."
    require(not others, rule, "schedule", schedule, "Leave out one of the two.")


def question_order(T_0: Any, T_mult: Any, eta_max: Any) -> None:
    """Refuse what is none of the first arguments, and question those of `SGDRSchedule` of old, the rate first."""
    for kind, fix in _OF_OTHER_ARGUMENTS.items():
        if isinstance(T_0, kind):
            raise invalid("`T_0` is the length of the first cycle, in epochs.", f"T_0={T_0!r}", fix)
    if is_number(T_0) and is_number(T_mult) and T_0 < 0.5 and T_mult > 2:
        third, meant = ("", "") if eta_max is None else (f", and eta_max={eta_max!r}", f"T_mult={eta_max!r}, ")
        warn(
            "The first arguments are the length of the first cycle in epochs and the factor from one to the next.",
            f"T_0={T_0!r}, less than half an epoch, and T_mult={T_mult!r}{third}",
            f"If the first is a learning rate, pass SGDR(T_0={T_mult!r}, {meant}eta_max={T_0!r}).",
        )
