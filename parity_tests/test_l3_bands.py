"""L3: float32 loss curves, beside PyTorch's own float32 variants measured in the same run.

ResNet-50 is slow; the small net shows that the machinery tells a faithful run from a control.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from parity_tests.measurements import Recorder
from parity_tests.processes import max_gap
from parity_tests.tolerances import BAND, RATES_FLOAT32
from parity_tests.training.bands import REGIMES, STOCK, VARIANTS, Band, band_runs
from parity_tests.training.run import traces_of_both

MARKS = {name: [pytest.mark.slow] if regime.run["net"] == "resnet50" else [] for name, regime in REGIMES.items()}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=MARKS[name]) for name in REGIMES])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def band(name: str, folder: Path, inputs: str, request: pytest.FixtureRequest) -> Band:
    if name == "small net":
        return Band(REGIMES[name], *request.getfixturevalue("suite")["L3"])
    return Band(REGIMES[name], *traces_of_both(*band_runs(name, inputs), folder))


@pytest.mark.parametrize("what", ["losses", "val_losses"])
def test_band(what: str, name: str, band: Band, measure: Recorder) -> None:
    for variant in VARIANTS:
        # The band has a width, or the ratio would mean nothing.
        assert band.error(band.torch[variant], what) > 0
    measure.agrees(name, what, band.ratio(band.keras["Keras"], what), BAND.limit)


def test_rates(name: str, band: Band, measure: Recorder) -> None:
    ours, theirs = band.keras["Keras"]["rates"], band.torch["plain"]["rates"]
    measure.agrees(name, "rates", max_gap(ours, theirs.astype("float32")), RATES_FLOAT32.limit)


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
    measure.caught(name, control, ratio, BAND.limit)
