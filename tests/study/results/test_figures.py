"""What is drawn of a table: by what the axes hold, since a picture's look is for eyes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from pandas import DataFrame
from scipy.interpolate import RBFInterpolator

from keras_sgdr.study.results import figures, statistics
from keras_sgdr.study.results.curves import curves_of
from keras_sgdr.study.results.tables import rows_of
from tests.support.synthetic_table import SCHEDULES, plausible, table

NAMES = list(SCHEDULES)


@pytest.fixture(scope="module")
def results() -> DataFrame:
    return plausible(SCHEDULES, 100, 4)


@pytest.fixture(autouse=True)
def no_window_opens() -> Iterator[None]:
    plt.close("all")  # Those of other tests, such as the README's.
    yield
    assert plt.get_fignums() == []


def of_label(ax: Axes, label: str) -> Line2D:
    (line,) = (line for line in ax.lines if line.get_label() == label)
    return line


def marked(line: Line2D) -> list[float]:
    indices = line.get_markevery()
    assert isinstance(indices, list)
    return sorted(float(x) for x in np.asarray(line.get_xdata())[indices])


def legend(ax: Axes) -> tuple[str, list[str]]:
    drawn = ax.get_legend()
    assert drawn is not None
    return drawn.get_title().get_text(), [text.get_text() for text in drawn.get_texts()]


def test_means_have_a_band_of_one_sd_and_marks_at_ends_of_cycles() -> None:
    results = plausible(SCHEDULES, 100, 6)
    ax = figures.plot_means(results, only=NAMES[:2])
    expected = statistics.spread(results)
    for place, name in enumerate(NAMES[:2]):
        mean, sd = (expected.loc[name][column].to_numpy(np.float64) for column in ("mean", "sd"))
        line = of_label(ax, f"{name}, n=6")
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 101))
        np.testing.assert_array_equal(line.get_ydata(), mean)
        box = ax.collections[place].get_datalim(ax.transData)
        assert (box.y0, box.y1) == pytest.approx((np.maximum(mean - sd, 0).min(), (mean + sd).max()))
        assert marked(line) == ([10, 30, 70] if place else [])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Epochs completed", "Validation loss")
    assert legend(ax) == (
        "mean ± 1 SD over the seeds; markers: ends of cycles",
        [f"{name}, n=6" for name in NAMES[:2]],
    )


def test_of_few_seeds_each_is_a_thin_line(results: DataFrame) -> None:
    ax = figures.plot_means(results, only=NAMES[:1])
    assert not ax.collections
    thin = [line for line in ax.lines if line.get_linewidth() < 1]
    runs = results[results["schedule"] == NAMES[0]].pivot(index="seed", columns="epoch", values="val_loss")
    np.testing.assert_array_equal([line.get_ydata() for line in thin], runs.to_numpy())
    assert legend(ax) == ("mean over the seeds; thin: each of them; markers: ends of cycles", [f"{NAMES[0]}, n=4"])


def test_first_epochs_do_not_eat_the_axis() -> None:
    diverged = [[887.0, *run] for run in ([0.5, 0.4, 0.45, 0.3], [0.52, 0.41, 0.44, 0.31])]
    ax = figures.plot_means(table({"steps": diverged}, {}))
    assert ax.get_yscale() == "linear"
    low, high = ax.get_ylim()
    assert 0.2 < low < 0.305
    assert 0.51 < high < 0.6
    settled = [[0.6, 0.5, 0.45, 0.4]] * 2
    _, high = figures.plot_means(table({"steps": settled}, {})).get_ylim()
    assert high > 0.6


def test_fewer_than_30_epochs_are_not_smoothed() -> None:
    losses = [list(np.random.default_rng(seed).uniform(1, 2, 29)) for seed in range(3)]
    ax = figures.plot_smoothed(table({"steps": losses}, {}))
    drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines if len(np.asarray(line.get_ydata())) == 29]
    assert len(drawn) == 2
    for line in drawn:
        np.testing.assert_allclose(line, np.mean(losses, axis=0), rtol=1e-12)
    assert legend(ax)[0] == "means over the seeds; markers: ends of cycles"


def test_five_schedules_differ_in_colour_and_in_stroke() -> None:
    curves = curves_of(table({str(number): [[1.0, 2.0]] for number in range(5)}, {}), "val_loss")
    assert len({curve.color for curve in curves}) == len({curve.stroke for curve in curves}) == 5


def test_where_a_band_of_one_sd_would_fall_below_zero_it_is_one_of_quantiles() -> None:
    # After the first epoch the mean is 0.5 and the SD 1.
    losses = np.array([[0.0, 3.0], [2.0, 3.0], [0.0, 3.0], [0.0, 3.0]] * 2)
    ax = figures.plot_means(table({"steps": losses.tolist()}, {}))
    low, high = np.quantile(losses, [0.16, 0.84], axis=0)
    box = ax.collections[0].get_datalim(ax.transData)
    assert (box.y0, box.y1) == pytest.approx((low.min(), high.max()))
    assert list(np.asarray(of_label(ax, "steps, n=8").get_ydata())) == [0.0, 3.0]
    assert legend(ax)[0].startswith("median and middle 68 % of the seeds")
    # Where values are below 0 themselves, a band may be.
    below = figures.plot_means(table({"steps": (losses - 1).tolist()}, {}))
    assert below.collections[0].get_datalim(below.transData).y0 == pytest.approx(-0.5 - losses[:, 0].std(ddof=1))
    assert legend(below)[0].startswith("mean ± 1 SD")


def test_a_loss_that_varies_much_has_a_logarithmic_axis() -> None:
    for highest, scale in ((7.0, "linear"), (9.0, "log")):
        results = table({"steps": [[highest, 1.0], [highest, 1.0]]}, {})
        assert figures.plot_means(results).get_yscale() == scale
        assert figures.plot_smoothed(results).get_yscale() == scale
        assert figures.plot_means(results, metric="val_accuracy").get_yscale() == "linear"


def test_schedules_differ_in_stroke_and_marker_and_look_alike_in_every_figure(results: DataFrame) -> None:
    together = figures.plot_means(results, band=False)
    lines = [of_label(together, f"{name}, n=4") for name in NAMES]
    assert len({line.get_linestyle() for line in lines}) == len(NAMES)
    alone = figures.plot_means(results, only=["one cosine"], band=False)
    for name in ("get_color", "get_linestyle", "get_marker"):
        assert getattr(alone.lines[0], name)() == getattr(lines[2], name)()


def test_one_seed_has_no_band_and_says_so() -> None:
    ax = figures.plot_means(plausible(SCHEDULES, 12, 1))
    assert not ax.collections
    assert legend(ax)[0] == "mean over the seeds; markers: ends of cycles"
    assert legend(ax)[1][0] == "step decay (60, 0.1), n=1"


def test_runs_that_diverge_are_counted_in_the_legend() -> None:
    losses = {"one": [[2.0, 1.0], [4.0, math.inf]], "two": [[2.0, math.nan], [math.nan, 1.0]]}
    ax = figures.plot_means(table(losses, {}))
    assert legend(ax)[1] == ["one, n=2 of which 1 diverge", "two, n=2 of which 2 diverge"]
    assert list(np.asarray(of_label(ax, "one, n=2 of which 1 diverge").get_ydata())) == [3.0, 1.0]


def test_panels_show_a_schedule_each_beside_the_first(results: DataFrame) -> None:
    panels = figures.plot_panels(results)
    assert [ax.get_title() for ax in panels] == [f"{name}, n=4" for name in NAMES]
    first = np.asarray(panels[0].lines[0].get_ydata())
    for ax in panels[1:]:
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), first)
        assert ax.get_legend() is None
    # Labels at the left and at the bottom of the grid of two by two.
    assert [bool(ax.get_ylabel()) for ax in panels] == [True, False, True, False]
    assert [bool(ax.get_xlabel()) for ax in panels] == [False, False, True, True]


def test_grid_with_a_gap_has_no_empty_panel(results: DataFrame) -> None:
    panels = figures.plot_panels(results[results["schedule"] != "constant"])
    figure = panels[0].figure
    assert len(panels) == len(figure.axes) == 3
    assert [bool(ax.get_xlabel()) for ax in panels] == [False, True, True]


def test_smoothing_is_that_of_scipy_and_stated_while_markers_stand_at_the_means(results: DataFrame) -> None:
    ax = figures.plot_smoothed(results, smoothing=5)
    mean = statistics.spread(results).loc["SGDR (10, 2)"]["mean"].to_numpy(np.float64)
    epochs = np.arange(1.0, 101)[:, None]
    expected = RBFInterpolator(epochs, mean, smoothing=5)(epochs)
    dots, smooth, ends, _ = ax.lines[4:8]
    np.testing.assert_array_equal(dots.get_ydata(), mean)
    np.testing.assert_array_equal(smooth.get_ydata(), expected)
    assert list(np.asarray(ends.get_xdata())) == [10, 30, 70]
    np.testing.assert_array_equal(ends.get_ydata(), mean[[9, 29, 69]])
    title, labels = legend(ax)
    assert "thin-plate RBF, smoothing 5" in title
    assert labels == [f"{name}, n=4" for name in NAMES]


@pytest.mark.parametrize("smoothing", [-1, math.nan])
def test_smoothing_is_not_negative(results: DataFrame, smoothing: float) -> None:
    with pytest.raises(
        ValueError, match=r"`smoothing` must be a finite number, 0 or more\. Received: smoothing=.*Pass"
    ):
        figures.plot_smoothed(results, smoothing=smoothing)


def test_differences_have_their_intervals_and_are_filled_at_ends_of_their_own_cycles(results: DataFrame) -> None:
    ax = figures.plot_differences(results)
    found = statistics.differences(results)
    epochs = [10, 30, 70, 100]
    assert [label.get_text() for label in ax.get_xticklabels()] == list(map(str, epochs))
    bars = [container for container in ax.containers if isinstance(container, ErrorbarContainer)]
    assert len(bars) == len(found)
    for bar, ((name, epoch), own) in zip(bars, rows_of(found).items(), strict=True):
        point, _, (interval,) = bar
        assert round(float(np.asarray(point.get_xdata())[0])) == epochs.index(epoch)
        assert list(np.asarray(point.get_ydata())) == [own["mean"]]
        (ends,) = interval.get_segments()
        assert list(ends[:, 1]) == pytest.approx([own["t_low"], own["t_high"]])
        filled = to_rgba(point.get_markerfacecolor()) != to_rgba("white")
        assert filled == (epoch in SCHEDULES[name].cycle_ends(100))
    assert ax.get_ylabel() == "Validation loss, minus step decay (60, 0.1)"


def test_given_axes_are_drawn_on_and_returned(results: DataFrame) -> None:
    figure, axes = plt.subplots(2, 2)
    given: list[Any] = axes.ravel().tolist()
    assert figures.plot_means(results, given[0]) is given[0]
    assert figures.plot_smoothed(results, given[1]) is given[1]
    assert figures.plot_differences(results, given[2]) is given[2]
    for ax in given:
        ax.clear()
    assert figures.plot_panels(results, given) == given
    with pytest.raises(ValueError, match=r"`axes` must be one per schedule\. Received: axes=3\. Pass 4, or None\."):
        figures.plot_panels(results, given[:3])
    plt.close(figure)


def test_all_are_drawn_into_a_folder(results: DataFrame, tmp_path: Path) -> None:
    paths = figures.draw(results, SCHEDULES, tmp_path / "new", 100, metric="val_accuracy")
    assert [path.stem for path in paths] == list(figures.CAPTIONS)
    for path in paths:
        assert matplotlib.image.imread(path).std() > 0


def test_one_schedule_alone_has_no_differences(results: DataFrame, tmp_path: Path) -> None:
    alone = results[(results["schedule"] == "SGDR (10, 2)") & (results["epoch"] < 3)]
    paths = figures.draw(alone, {"SGDR (10, 2)": SCHEDULES["SGDR (10, 2)"]}, tmp_path, 2)
    assert [path.stem for path in paths] == [name for name in figures.CAPTIONS if name != "differences"]


def test_missing_matplotlib_names_the_install_command(results: DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "keras-sgdr\[plot\]"'):
        figures.plot_means(results)
