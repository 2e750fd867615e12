"""`examples/compare_fine_tuning.py`, on drawn insects and from random weights, and what was published of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from examples import compare_fine_tuning
from examples.compare_fine_tuning import AVERAGE, WAYS, Options, main, report
from tests.support import small_network
from tests.support.examples import is_picture

PUBLISHED = Path(__file__).parents[2] / "docs" / "fine_tuning"
# Cycles end after 2 and 6 epochs, and the second restart, at which all layers are trained, is reached.
OPTIONS = Options(seeds=1, image_size=32, epochs=7, weights="none")


@pytest.mark.slow
def test_trains_each_way_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_fine_tuning, "SCRIPT", [small_network.__file__, *compare_fine_tuning.SCRIPT])
    # Of the layers of the small network.
    ways = {"rates by group": ["--multipliers", "dense*", "1", "*", "0.1"], "unfreezing": ["--unfreeze", "1", "*"]}
    monkeypatch.setattr(compare_fine_tuning, "WAYS", WAYS | ways)
    # No images, and no way to download some.
    monkeypatch.delenv("ANTS_BEES_DIR", raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    results = main(OPTIONS)
    assert results.groupby("schedule").size().to_dict() == dict.fromkeys(WAYS, 7) | {way + AVERAGE: 2 for way in WAYS}
    assert np.isfinite(results["val_loss"]).all()
    first = results[(results["epoch"] == 1) & ~results["schedule"].str.endswith(AVERAGE)]
    assert first["val_loss"].nunique() == len(WAYS)
    folder = OPTIONS.output
    assert is_picture(folder / "val_loss.png")
    pd.testing.assert_frame_equal(pd.read_csv(folder / "results.csv"), results)
    printed = capsys.readouterr().out
    assert printed.count("seed 0: ") == len(WAYS)
    main(OPTIONS)
    assert printed.endswith(capsys.readouterr().out)
    with pytest.raises(ValueError, match=r"must have the same options\. Received: .* Pass another --output"):
        main(dataclasses.replace(OPTIONS, image_size=48))
    with pytest.raises(ValueError, match=r"(?s)must succeed\. Received: one rate, seed 0: .*`epochs` must be"):
        main(dataclasses.replace(OPTIONS, epochs=0, output=tmp_path / "other"))


def test_a_difference_is_found_and_none_is_not() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (5, 2))
    rows = [
        {
            "schedule": way,
            "seed": seed,
            "epoch": 2,
            "cycle": 0,
            "cycle_end": True,
            "val_loss": loss,
            "val_accuracy": 0.8,
        }
        for seed in range(5)
        for way, loss in zip(
            WAYS, (0.5 + noise[seed, 0], 0.4 + noise[seed, 1], 0.5 + noise[seed, 1] - noise[:, 1].mean()), strict=True
        )
    ]
    losses = report(pd.DataFrame(rows)).tables[1]
    p = {row[0]: float(row[-1]) for row in losses.rows}
    assert p["rates by group"] < 0.01
    assert p["unfreezing"] > 0.1


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="nothing is published")
def test_published_tables_are_those_of_the_results() -> None:
    assert report(pd.read_csv(PUBLISHED / "results.csv")).markdown() == (PUBLISHED / "report.md").read_text()


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="nothing is published")
def test_the_guide_has_the_differences_of_the_results() -> None:
    guide = (PUBLISHED.parent / "guide" / "fine_tuning.md").read_text()
    results = pd.read_csv(PUBLISHED / "results.csv").query("epoch == 14")
    losses = results.pivot_table(index="seed", columns="schedule", values="val_loss")
    for name in set(losses) - {"one rate"}:
        difference = losses[name] - losses["one rate"]
        low, high = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
        loss = f"{losses[name].mean():.3f} ± {losses[name].std():.3f}"
        assert f"| {name} | {loss} | {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}] |" in guide
