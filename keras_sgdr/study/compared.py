"""The schedules that a study compares: those beside step decay, and the settings of `T_0` and `T_mult`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras_sgdr._checks import integer, positive, require
from keras_sgdr.schedules import Schedule, StepDecay, WarmRestarts
from keras_sgdr.schedules.exact import MOST_UPDATES, Epochs, check_fraction, to_fraction
from keras_sgdr.schedules.planning import written

__all__ = ["TUNED", "compared_schedules", "tuning_schedules"]

# (T_0, T_mult) of the paper's figure 1.
TUNED = ((1, 2), (10, 2), (50, 1), (100, 1), (200, 1))


def compared_schedules(
    eta_max: float, epochs: int, T_0: Epochs | None = None, T_mult: Epochs = 2
) -> dict[str, Schedule]:
    """Step decay, SGDR, and the controls: one cosine over the whole budget, and a constant rate.

    Args:
        eta_max: Learning rate with which each of them begins.
        epochs: The budget. Step decay drops once, after 60 % of it: after 60 of 100 epochs.
        T_0: SGDR's first cycle, in epochs. None: a tenth of the budget, at least one epoch.
        T_mult: Growth of its cycles.

    Returns:
        Schedules by the names that figures show, the baseline first.

    Raises:
        ValueError: If `eta_max`, `epochs`, `T_0` or `T_mult` is not positive.
    """
    integer("epochs", epochs, "Pass the epochs of a run, such as epochs=100.", most=MOST_UPDATES)
    step_size = max(1, round(0.6 * epochs))
    T_0 = max(1, round(0.1 * epochs)) if T_0 is None else T_0
    return {
        f"step decay ({step_size}, 0.1)": StepDecay(eta_max, step_size=step_size, gamma=0.1),
        **tuning_schedules(eta_max, [(T_0, T_mult)]),
        "one cosine": WarmRestarts(T_0=epochs, eta_max=eta_max, cycle_limit=1),
        "constant": StepDecay(eta_max, gamma=1),
    }


def tuning_schedules(eta_max: float, settings: Iterable[tuple[Epochs, Epochs]] = TUNED) -> dict[str, Schedule]:
    """SGDR with several settings of T_0 and T_mult.

    Args:
        eta_max: Learning rate at every restart.
        settings: Each `(T_0, T_mult)`, T_0 in epochs. Unless given, the paper's: (1, 2), (10, 2), (50, 1), (100, 1) and
            (200, 1).

    Returns:
        Schedules by the names that figures show.

    Raises:
        ValueError: If `eta_max`, a T_0 or a T_mult is not positive.
    """
    positive("eta_max", eta_max, "Pass a learning rate, such as eta_max=0.1.")
    try:
        pairs: list[Any] = list(settings)
    except TypeError:
        pairs = [settings]
    rule = "Each of `settings` must be a pair `(T_0, T_mult)`."
    fix = "Pass [(1, 2), (10, 2)] or the like."
    require(all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs), rule, "settings", settings, fix)
    return dict(_named(T_0, T_mult, eta_max) for T_0, T_mult in pairs)


def _named(T_0: Epochs, T_mult: Epochs, eta_max: float) -> tuple[str, Schedule]:
    check_fraction("T_0", T_0, "Pass the length of the first cycle, such as T_0=10.")
    schedule = WarmRestarts(T_0, T_mult, eta_max)
    return f"SGDR ({written(to_fraction(T_0))}, {written(to_fraction(T_mult))})", schedule
