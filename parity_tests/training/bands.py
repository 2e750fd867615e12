"""Level L3's settings, and the band that PyTorch's own float32 variants make around the float64 run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity_tests.processes import Arrays
from parity_tests.training.controls import controls_of
from parity_tests.training.run import Run

__all__ = ["REGIMES", "STOCK", "VARIANTS", "Band", "band_runs"]

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "without mkldnn": {"variant": "no_mkldnn"},
    "channels last": {"variant": "channels_last"},
    "two threads": {"variant": "two_threads"},
    "weights x (1 + 1e-6 noise)": {"weight_noise": 1e-6},
    "the same, other noise": {"weight_noise": 1e-6, "noise_seed": 1},
}

STOCK = "stock SGD against stock SGD"


def largest(errors: NDArray[Any]) -> float:
    return float(np.max(errors))


def geometric_mean(errors: NDArray[Any]) -> float:
    # No error is taken for less than float32's eps: one that happens to be 0 would pull the mean to 0.
    return float(np.exp(np.mean(np.log(np.maximum(errors, np.finfo(np.float32).eps)))))


@dataclass(frozen=True)
class Regime:
    """A setting, and the one number that an error curve is reduced to, chosen before the first run.

    In the calm regime that is the largest error. At the example's own rate every rounding grows to the order of the
    loss itself, in PyTorch's variants as well; the largest error is then whatever chaos made of one update, the same
    for faithful runs and controls. The geometric mean over the updates asks how early and how fast a curve departs.

    Attributes:
        title: What the report calls it; none where it is not in the report.
        measure: From the errors of all updates to one number.
        run: Settings of its runs.
        controls: Names of the controls that are tried.
    """

    title: str
    measure: Callable[[NDArray[Any]], float]
    run: dict[str, Any]
    controls: tuple[str, ...] = tuple(control.name for control in controls_of("sgd"))


# Restarts after 1 and 3 epochs. The small net is quick, and tries the control that is hardest to see.
REGIMES = {
    "small net": Regime(
        "", largest, {"net": "small", "eta_max": 0.01, "epochs": 4, "steps": 4}, ("two images swapped",)
    ),
    "calm": Regime("eta_max 0.001", largest, {"net": "resnet50", "eta_max": 0.001, "epochs": 6, "steps": 10}),
    "example": Regime(
        "eta_max 0.01, the example's",
        geometric_mean,
        {"net": "resnet50", "eta_max": 0.01, "epochs": 6, "steps": 10},
    ),
}


@dataclass(frozen=True)
class Band:
    """The traces of a regime; "float64" among PyTorch's is what all errors are measured against."""

    regime: Regime
    keras: dict[str, Arrays]
    torch: dict[str, Arrays]

    def error(self, trace: Arrays, what: str) -> float:
        return self.regime.measure(np.abs(trace[what].astype("float64") - self.torch["float64"][what]))

    def ratio(self, trace: Arrays, what: str) -> float:
        """Error of a curve over the largest of PyTorch's variants."""
        return self.error(trace, what) / max(self.error(self.torch[name], what) for name in VARIANTS)


def band_runs(regime: str, inputs: str) -> tuple[dict[str, Run], dict[str, Run]]:
    """The runs of Keras and those of PyTorch that a regime's band is made of."""
    common = {"precision": "float32", **REGIMES[regime].run, "inputs": inputs}
    keras: dict[str, dict[str, Any]] = {"Keras": {}, **{name: {"control": name} for name in REGIMES[regime].controls}}
    torch = {**VARIANTS, "float64": {"precision": "float64"}, STOCK: {"momentum_form": "pytorch"}}
    ours, theirs = ({key: Run(**{**common, **case}) for key, case in cases.items()} for cases in (keras, torch))
    return ours, theirs
