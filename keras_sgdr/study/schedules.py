"""The schedules that the study compares unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from keras_sgdr.arguments import is_integer, require
from keras_sgdr.cycles import Schedule, WarmRestarts
from keras_sgdr.step_decay import StepDecay

__all__ = ["TUNED", "compared_schedules", "tuning_schedules"]

# (T_0, T_mult) of the paper's figure 1.
TUNED = ((1, 2), (10, 2), (50, 1), (100, 1), (200, 1))


def compared_schedules(eta_max: float, epochs: int, T_0: float = 10, T_mult: float = 2) -> dict[str, Schedule]:
    """Step decay, SGDR, and the controls: one cosine over the whole budget, and a constant rate.

    Args:
        eta_max: Learning rate with which each of them begins.
        epochs: The budget. Step decay drops once, after 60 % of it: after 60 of 100 epochs.
        T_0: SGDR's first cycle, in epochs.
        T_mult: Growth of its cycles.

    Returns:
        Schedules by the names that figures show, the baseline first.

    Raises:
        ValueError: If `eta_max`, `epochs`, `T_0` or `T_mult` is not positive.
    """
    require(
        is_integer(epochs),
        "`epochs` must be a positive integer.",
        "epochs",
        epochs,
        "Pass the epochs of a run, such as epochs=100.",
    )
    step_size = max(1, round(0.6 * epochs))
    return {
        f"step decay ({step_size}, 0.1)": StepDecay(eta_max, step_size=step_size, gamma=0.1),
        **tuning_schedules(eta_max, [(T_0, T_mult)]),
        "one cosine": WarmRestarts(T_0=epochs, eta_max=eta_max, cycles=1),
        "constant": StepDecay(eta_max, gamma=1),
    }


def tuning_schedules(eta_max: float, settings: Iterable[tuple[float, float]] = TUNED) -> dict[str, Schedule]:
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
    schedules = (WarmRestarts(T_0, T_mult, eta_max) for T_0, T_mult in settings)
    return {f"SGDR ({one.T_0:g}, {one.T_mult:g})": one for one in schedules}
