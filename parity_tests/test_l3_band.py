"""L3: float32 loss curves of ResNet-50, beside PyTorch's own float32 variants measured in the same run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from parity_tests.bands import REGIMES, STOCK, VARIANTS, Band, band_runs
from parity_tests.measured import Recorder
from parity_tests.runs import Trace, max_gap
from parity_tests.tolerances import BAND, RATES_FLOAT32

MARKS = {name: [] if name == "short" else [pytest.mark.slow] for name in REGIMES}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=MARKS[name]) for name in REGIMES])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def band(
    name: str, inputs: dict[str, Any], train_both: Callable[..., tuple[dict[str, Trace], dict[str, Trace]]]
) -> Band:
    return Band(REGIMES[name], *train_both(*band_runs(name, inputs)))


@pytest.mark.parametrize("what", ["losses", "val_losses"])
def test_band(what: str, name: str, band: Band, measure: Recorder) -> None:
    for variant in VARIANTS:
        # The band has a width, or the ratio would mean nothing.
        assert band.error(band.torch[variant], what) > 0
    measure.agrees(f"{name}: {what}", band.ratio(band.keras["Keras"], what), BAND.limit)


def test_rates(name: str, band: Band, measure: Recorder) -> None:
    ours, theirs = band.keras["Keras"]["rates"], band.torch["plain"]["rates"]
    measure.agrees(f"{name}: rates", max_gap(ours, theirs.astype("float32")), RATES_FLOAT32.limit)


@pytest.mark.parametrize(
    ("name", "control"),
    [
        pytest.param(name, control, marks=MARKS[name])
        for name, regime in REGIMES.items()
        for control in [*regime.controls, STOCK]
    ],
    indirect=["name"],
)
def test_control(control: str, name: str, band: Band, measure: Recorder) -> None:
    trace = band.torch[STOCK] if control == STOCK else band.keras[control]
    ratio = max(band.ratio(trace, what) for what in ("losses", "val_losses"))
    measure.caught(f"{name}: {control}", ratio, BAND.limit)
