"""The settings of SGDR whose rates are compared, and how long each is run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

__all__ = ["BEYOND_INTEGERS", "FIT_CASES", "MISSED_WITH_EPOCH", "MOST_STEPS", "RATE_CASES", "RateCase"]

F = Fraction


@dataclass(frozen=True)
class RateCase:
    """One setting of SGDR and how long it is run.

    Lengths are exact here; both sides are given the floats that stand for them.

    Args:
        name: Name of the case.
        epochs: Length of the run.
        steps_per_epoch: Updates in an epoch.
        T_0: Length of the first cycle, in epochs.
        T_mult: Ratio of the lengths of two successive cycles.
        eta_max: Rate at the first restart.
        eta_min: Rate towards which the first cycle anneals.
        eta_max_decay: Factor on eta_max at every restart.
        eta_min_decay: Factor on eta_min at every restart.
        warmup: Epochs of linear rise before the first cycle.
        cycle_limit: After so many cycles eta_min is held; None: no end.
        end: Whether the last update of a cycle is made above eta_min ("exclusive") or at it ("inclusive").
    """

    name: str
    epochs: int
    steps_per_epoch: int
    T_0: int | Fraction
    T_mult: int | Fraction = 1
    eta_max: float = 0.1
    eta_min: float = 0.0
    eta_max_decay: float = 1.0
    eta_min_decay: float = 1.0
    warmup: int | Fraction = 0
    cycle_limit: int | None = None
    end: Literal["exclusive", "inclusive"] = "exclusive"

    @property
    def updates(self) -> int:
        """Length of the run in updates."""
        return self.epochs * self.steps_per_epoch

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that the schedules of both sides have in common; eta_max is not among them."""
        return {
            "T_0": float(self.T_0),
            "T_mult": float(self.T_mult),
            "eta_min": self.eta_min,
            "eta_max_decay": self.eta_max_decay,
            "eta_min_decay": self.eta_min_decay,
            "warmup": float(self.warmup),
            "cycle_limit": self.cycle_limit,
            "end": self.end,
        }

    def shortened(self, updates: int) -> RateCase:
        """The same case, over as many whole epochs as fit into `updates`, at least one."""
        return replace(self, epochs=min(self.epochs, max(1, updates // self.steps_per_epoch)))


# name, epochs, steps per epoch, T_0, T_mult. Each runs at least 10 cycles or 100,000 updates. 61 steps an epoch are
# those of 244 images, the ants and bees, in batches of 4.
RATE_CASES: tuple[RateCase, ...] = (
    # Cycles of one length.
    RateCase("equal_1", 40, 61, 1),
    RateCase("equal_2_updates", 50, 1, 2),
    RateCase("equal_10", 120, 61, 10),
    RateCase("equal_7_long", 7700, 13, 7, eta_max=0.05),
    RateCase("equal_floor", 60, 16, 3, eta_min=1e-3),
    RateCase("half_epoch", 60, 7, F(1, 2)),
    RateCase("tenth_of_epoch", 30, 25, F(1, 10), eta_max=0.3),
    RateCase("third_of_epoch", 90, 10, F(1, 3), eta_min=1e-4),
    RateCase("37_hundredths", 50, 61, F(37, 100)),
    # Doubling, tripling and steeper.
    RateCase("double_1", 1023, 61, 1, 2),
    RateCase("double_10", 163830, 1, 10, 2),
    RateCase("double_powers_of_2", 1023, 4, 1, 2),
    RateCase("double_half", 1023, 8, F(1, 2), 2),
    RateCase("double_floor", 3100, 5, 3, 2, eta_min=0.01),
    RateCase("triple_1", 29524, 1, 1, 3),
    RateCase("triple_2", 59048, 1, 2, 3, eta_min=1e-4),
    RateCase("triple_5", 50000, 2, 5, 3),
    RateCase("by_4", 100000, 1, 3, 4, eta_max=0.05),
    RateCase("by_9", 100000, 1, 1, 9),
    RateCase("by_10", 50000, 2, 1, 10),
    # Fractions of growth.
    RateCase("half_more", 250, 8, 2, F(3, 2)),
    RateCase("half_more_10", 1140, 61, 10, F(3, 2), eta_min=1e-3),
    RateCase("half_more_half_epoch", 200, 13, F(1, 2), F(3, 2)),
    RateCase("quarter_more", 100, 24, 2, F(5, 4)),
    RateCase("third_more", 60, 12, 1, F(4, 3), eta_max=0.05),
    RateCase("two_and_half", 15000, 7, 1, F(5, 2)),
    # Shrinking.
    RateCase("halving", 25, 64, 10, F(1, 2)),
    RateCase("halving_floor", 25, 100, F(21, 2), F(1, 2), eta_min=1e-3),
    RateCase("three_quarters", 30, 16, 6, F(3, 4)),
    RateCase("two_thirds", 40, 27, 9, F(2, 3), end="inclusive"),
    # Warmup.
    RateCase("warmup_1", 2047, 7, 1, 2, warmup=1),
    RateCase("warmup_5", 130, 16, 10, warmup=5, eta_min=1e-4),
    RateCase("warmup_half", 341, 61, 3, F(3, 2), warmup=F(1, 2)),
    RateCase("warmup_3_tenths", 30, 7, 1, warmup=F(3, 10), eta_min=1e-3),
    # Another peak and another floor in every cycle.
    RateCase("peak_decay", 1023, 8, 1, 2, eta_max_decay=0.7),
    RateCase("peak_decay_equal", 120, 61, 10, eta_max_decay=0.9),
    RateCase("peak_meets_floor", 60, 9, 3, eta_max_decay=0.5, eta_min=1e-3),
    RateCase("floor_decay", 600, 5, F(1, 2), 2, eta_min=0.01, eta_min_decay=0.5),
    RateCase("both_decay", 90, 12, F(1, 3), F(5, 4), eta_min=0.01, eta_max_decay=0.9, eta_min_decay=0.5),
    # An end.
    RateCase("12_cycles", 40, 16, 3, cycle_limit=12, eta_min=1e-3),
    RateCase("10_cycles_doubling", 1100, 10, 1, 2, cycle_limit=10),
    RateCase("11_cycles_half_more", 400, 7, 2, F(3, 2), cycle_limit=11, eta_max_decay=0.9, eta_min=1e-4),
    RateCase("3_cycles_then_held", 100000, 1, 1000, 3, cycle_limit=3, eta_min=1e-4),
    # The last update of a cycle at eta_min.
    RateCase("inclusive_equal", 40, 61, 1, end="inclusive"),
    RateCase("inclusive_double", 1023, 9, 1, 2, end="inclusive", eta_min=1e-3),
    RateCase("inclusive_triple", 29524, 1, 1, 3, end="inclusive"),
    RateCase("inclusive_half_epoch", 60, 7, F(1, 2), end="inclusive", eta_min=1e-4),
    RateCase("inclusive_half_more", 250, 8, 2, F(3, 2), end="inclusive", warmup=F(1, 2)),
    RateCase("everything", 120, 16, 1, F(3, 2), 0.3, 0.01, 0.9, 0.8, warmup=F(3, 4), cycle_limit=10, end="inclusive"),
)

# Here the exact length of a cycle, counted in the unit in which its begin is an integer too, passes 2**53. The Keras
# side, vectorised in NumPy, then divides two rounded float64 numbers; the PyTorch side divides Python's integers.
BEYOND_INTEGERS: tuple[RateCase, ...] = (
    RateCase("tenth_more", 800, 13, F(7, 10), F(11, 10)),
    RateCase("fifth_more", 3000, 8, 1, F(6, 5), eta_min=1e-3),
    RateCase("hundredth_more", 300, 61, 1, F(101, 100), end="inclusive"),
    RateCase("nine_tenths", 60, 61, 5, F(9, 10), eta_max=0.3),
)

# Some 150 updates of these are run in a real `fit`; each restarts at least once.
FIT_CASES: tuple[RateCase, ...] = tuple(
    case.shortened(150)
    for case in RATE_CASES
    if case.name
    in (
        "equal_floor",
        "third_of_epoch",
        "double_1",
        "half_more",
        "three_quarters",
        "warmup_3_tenths",
        "both_decay",
        "everything",
    )
)

# PyTorch's own scheduler, which is slow, is stepped so far.
MOST_STEPS = 20_000

# The first restart at which PyTorch's `step(epoch)`, which finds the cycle with a logarithm, gives eta_min.
MISSED_WITH_EPOCH = {"triple_1": 121, "triple_2": 242, "triple_5": 1210, "by_9": 7381, "by_10": 222}
