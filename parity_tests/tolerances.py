"""Every bound of levels L0 to L3, with its reason and what was measured. (L4 has its margin in `training/seeds.py`.)"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "ANOTHER_ORDER",
    "BAND",
    "CONTROL",
    "GRADIENT",
    "JAX_UNITS",
    "ONE_UPDATE",
    "RATES_FLOAT32",
    "STATISTICS",
    "TRAJECTORY",
    "UNRECONCILED",
    "Bound",
]


@dataclass(frozen=True)
class Bound:
    """A limit and why it is there.

    Attributes:
        limit: The number.
        reason: Why not smaller or larger.
        measured: What was found when it was set, on two cores of an AMD EPYC, TensorFlow 2.21 and PyTorch 2.14.
    """

    limit: float
    reason: str
    measured: str


# The angle `pi x` carries at most five roundings of half an eps on one side and two on the other, and moves the rate by
# at most max(x pi sin(pi x)) / 2 = 0.91 times its relative error: 3.2 eps. Cosine, sum, product and sum add at most 1.5
# eps a side.
ANOTHER_ORDER = Bound(
    6.2 * float(np.finfo(np.float64).eps),
    "part of eta_max, of two float64 evaluations of equation (5) that round the same real numbers in another order",
    "1.25 eps",
)

JAX_UNITS = Bound(
    8.0,
    "units in the last place of eta_max in float32, in which JAX evaluates the schedule",
    "2.5",
)

ONE_UPDATE = Bound(
    1e-12,
    "absolute, of losses and weights of order 1: 4500 eps, for sums over 10^5 terms in another order",
    "3e-16 for the small net, 1e-16 for ResNet-50",
)

GRADIENT = Bound(
    1e-10,
    "|difference| / |gradient| of each tensor as a vector: a gradient is a sum of terms that cancel, more so in the "
    "first layers of a deep net",
    "6e-15 for the small net, 5e-15 for the worst of ResNet-50's 161 tensors",
)

STATISTICS = Bound(
    1e-12,
    "|difference| / |statistic| of each of BatchNorm's running tensors as a vector",
    "2e-15 for both",
)

TRAJECTORY = Bound(
    1e-10,
    "absolute, of every loss of training and validation: rounding grows along a trajectory, in the calm regime by less "
    "than 10^4 over these",
    "3e-15 over 224 updates of the small net, 2e-16 over 12 of ResNet-50",
)

UNRECONCILED = Bound(
    1e-3,
    "two momentum forms are two algorithms; the distance must be plain to see, not rounding grown large",
    "1e-2 for ResNet-50 over 12 updates at rates up to 0.001, 1e-1 for the small net",
)

CONTROL = Bound(
    1000.0,
    "a control must miss a float64 bound by this factor, so that it is not rounding that is caught",
    "5e5 times this at least",
)

BAND = Bound(
    2.0,
    "error against the float64 run, over the largest error of PyTorch's own float32 variants in the same run: two "
    "faithful float32 implementations differ as these do, and the largest of six is itself uncertain by such a factor",
    "0.55 for ResNet-50, 0.35 for the small net; controls 190 and more",
)

RATES_FLOAT32 = Bound(
    0.0,
    "Keras holds the rates of a float32 run as float32: they equal PyTorch's float64 ones after the same rounding",
    "equal",
)
