"""Every bound of levels L1 to L3, with its reason and what was measured. (L0 asks for equality, L4 has its margin.)"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BAND",
    "CONTROL",
    "GRADIENT",
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
        limit: the number.
        reason: why not smaller or larger.
        measured: what was found when it was set, on two cores of an AMD EPYC, TensorFlow 2.21 and PyTorch 2.14.
    """

    limit: float
    reason: str
    measured: str


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
    "honest float32 implementations differ as these do, and the largest of six is itself uncertain by such a factor",
    "0.3 in the short regime; controls 7000 and more",
)

RATES_FLOAT32 = Bound(
    0.0,
    "Keras holds the rates of a float32 run as float32: they equal PyTorch's float64 ones after the same rounding",
    "equal",
)
