from __future__ import annotations

import sys
from collections.abc import Iterator

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from keras_sgdr.plotting import plot_ensemble, plot_history, plot_learning_rate, plot_range_test, plot_schedules
from keras_sgdr.range_test import RangeTest
from keras_sgdr.schedules import Schedule, StepDecay, WarmRestarts
from keras_sgdr.snapshots import Report, Scores

LOSSES = {"loss": [5.0, 4.0, 3.0, 4.5, 3.5, 2.5, 2.0], "val_loss": [6.0, 5.0, 4.0, 5.5, 4.5, 3.5, 3.0]}


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    """Draw without a display, and leave no figure open."""
    mpl.use("Agg")
    yield
    plt.close("all")


def marked(line: Line2D) -> list[float]:
    """Positions in epochs of the line's markers."""
    indices = line.get_markevery()
    assert isinstance(indices, list)
    return sorted(float(x) for x in np.asarray(line.get_xdata())[indices])


def legend(ax: Axes) -> list[str]:
    drawn = ax.get_legend()
    assert drawn is not None
    return [text.get_text() for text in drawn.get_texts()]


def test_learning_rate_curve_holds_every_update() -> None:
    schedule = WarmRestarts(2, 2, eta_max=0.1)
    ax = plot_learning_rate(schedule, 6, steps_per_epoch=5)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), schedule.learning_rates(6, 5))
    np.testing.assert_array_equal(line.get_xdata(), np.arange(30) / 5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Training time (epochs)", "Learning rate")
    assert ax.get_legend() is None


# T_0=1.1 at 100 updates: in floats the cycle ends at update 110.00000000000001.
# T_0=0.25 at 10 updates: the cycle ends between two updates, the last that begins in it is marked.
@pytest.mark.parametrize(
    ("T_0", "steps_per_epoch", "last_updates"),
    [(2, 10, [19]), (1.1, 100, [109, 219]), (0.25, 10, [2, 4, 7, 9])],
)
def test_last_update_of_each_cycle_is_marked(T_0: float, steps_per_epoch: int, last_updates: list[int]) -> None:
    epochs = 1 if T_0 < 1 else 3
    ax = plot_learning_rate(WarmRestarts(T_0, 1, eta_max=0.1), epochs, steps_per_epoch=steps_per_epoch)
    assert marked(ax.lines[0]) == [update / steps_per_epoch for update in last_updates]


def test_many_cycles_are_marked_sparsely_and_the_last_always() -> None:
    ax = plot_learning_rate(WarmRestarts(1, 1, eta_max=0.1), 99, steps_per_epoch=2)
    marks = marked(ax.lines[0])
    assert 10 <= len(marks) <= 21
    assert marks[-1] == 98.5


def test_several_schedules_differ_in_stroke_and_marker_not_in_colour_alone() -> None:
    named = {f"T_0={T_0}": WarmRestarts(T_0, 2, eta_max=0.1) for T_0 in (1, 2, 3)} | {"steps": StepDecay(0.1, 3)}
    ax = plot_learning_rate(named, 9)
    looks = {(line.get_linestyle(), line.get_marker()) for line in ax.lines}
    assert len({stroke for stroke, _ in looks}) == len({marker for _, marker in looks}) == 4
    assert legend(ax) == list(named)


def test_logarithmic_scale_ends_three_decades_below_the_highest_rate() -> None:
    named: dict[str, Schedule] = {"cycles": WarmRestarts(2, eta_max=0.1), "steps": StepDecay(0.5, 1, 0.2)}
    ax = plot_learning_rate(named, 4, log=True)
    assert ax.get_yscale() == "log"
    cycles, steps = (np.asarray(line.get_ydata()) for line in ax.lines)
    assert steps.max() == 0.5
    rates = named["cycles"].learning_rates(4, 100)
    low = rates < 0.5 / 1000
    assert 2 < low.sum() < 20
    np.testing.assert_array_equal(cycles[~low], rates[~low])
    # Left out but for the end of the cycle, from which the next line rises.
    np.testing.assert_array_equal(cycles[low], [*[np.nan] * (low.sum() - 1), 0.5 / 1000])
    assert ax.get_ylabel() == "Learning rate (not drawn below 0.0005)"
    assert plot_learning_rate(WarmRestarts(2, 2, 0.1, 0.01), 4, log=True).get_ylabel() == "Learning rate"


def test_a_panel_per_schedule_with_scales_in_common() -> None:
    named: dict[str, Schedule] = {f"T_0={T_0}": WarmRestarts(T_0, eta_max=0.1 * T_0) for T_0 in range(1, 8)}
    figure = plot_schedules(named, 9, steps_per_epoch=10)
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(named)
    for ax, schedule in zip(figure.axes, named.values(), strict=True):
        (line,) = ax.lines
        np.testing.assert_array_equal(line.get_ydata(), schedule.learning_rates(9, 10))
        assert marked(line) == pytest.approx([end - 0.1 for end in schedule.cycle_ends(9)])
        assert (ax.get_xlim(), ax.get_ylim()) == (figure.axes[0].get_xlim(), figure.axes[0].get_ylim())
    assert figure.get_supylabel() == "Learning rate"
    # No panel ends a column without numbers below it.
    assert [ax.xaxis.get_tick_params()["labelbottom"] for ax in figure.axes] == [*[False] * 5, True, True]
    few = plot_schedules(dict(list(named.items())[:2]), 9, log=True)
    assert [ax.get_yscale() for ax in few.axes] == ["log", "log"]
    # By the highest rate of all.
    assert np.nanmin(np.asarray(few.axes[0].lines[0].get_ydata())) == 0.0002
    with pytest.raises(ValueError, match="`schedules` must be a schedule, or a dict of schedules by name"):
        plot_schedules({}, 9)


def test_schedule_without_cycles_has_no_marks() -> None:
    (line,) = plot_learning_rate(StepDecay(0.1, 2), 4).lines
    assert line.get_marker() == "None"
    assert marked(line) == []


def test_given_axes_are_drawn_on_and_returned() -> None:
    _, (above, below) = plt.subplots(2)
    assert plot_learning_rate(WarmRestarts(2, eta_max=0.1), 2, above) is above
    assert plot_history(LOSSES, below) is below
    assert above.lines
    assert below.lines
    assert len(plt.get_fignums()) == 1


def test_history_marks_restarts_and_ends_of_cycles() -> None:
    #  epoch    1  2  3 | 4  5  6  7
    #  cycles         end^         ^end, and no restart after the last epoch
    ax = plot_history(LOSSES, cycle_ends=[3, 7])
    restart, loss, val_loss = ax.lines
    assert list(np.asarray(restart.get_xdata())) == [3, 3]
    for line, name in ((loss, "loss"), (val_loss, "val_loss")):
        assert list(np.asarray(line.get_xdata())) == [1, 2, 3, 4, 5, 6, 7]
        assert list(np.asarray(line.get_ydata())) == LOSSES[name]
        assert marked(line) == [3, 7]
    assert loss.get_linestyle() != val_loss.get_linestyle()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Epochs completed", "loss")
    assert legend(ax) == ["restart", "loss", "val_loss"]


def test_restart_between_epochs_is_a_line_without_a_point() -> None:
    restart, loss, _ = plot_history(LOSSES, cycle_ends=[2.5]).lines
    assert list(np.asarray(restart.get_xdata())) == [2.5, 2.5]
    assert marked(loss) == []


def test_history_of_a_late_start_keeps_its_epochs() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((4, 1)), np.ones((4, 1)), initial_epoch=5, epochs=8, verbose=0)
    ax = plot_history(history, metrics=["loss"], cycle_ends=[3, 7])
    restart, loss = ax.lines
    assert list(np.asarray(loss.get_xdata())) == [6, 7, 8]
    assert list(np.asarray(restart.get_xdata())) == [7, 7]
    assert marked(loss) == [7]


def test_range_test_shows_losses_and_suggestions_and_no_divergence() -> None:
    rates = np.geomspace(1e-3, 1, 4)
    losses = np.array([2.0, 1.5, 1.0, 1e6])
    result = RangeTest(rates, losses, rates, losses, suggested=1e-2, suggested_tenth=2e-2, stopped="diverged")
    ax = plot_range_test(result)
    raw, smoothed, steepest, *_ = ax.lines
    for line in (raw, smoothed):
        np.testing.assert_array_equal(line.get_xdata(), rates)
        np.testing.assert_array_equal(line.get_ydata(), losses)
    assert list(np.asarray(steepest.get_xdata())) == [1e-2, 1e-2]
    assert (ax.get_xlabel(), ax.get_xscale(), ax.get_ylabel()) == ("Learning rate", "log", "Loss")
    assert ax.get_ylim()[1] < 3
    names = ["loss of a batch", "mean of recent batches and rates"]
    names += ["0.01: steepest descent", "0.02: a tenth of the minimum's", "loss of a batch above, up to 1e+06"]
    assert legend(ax) == names
    # What lies above the axes is at its rate at their end.
    np.testing.assert_array_equal(ax.lines[-1].get_xydata(), [[1.0, ax.get_ylim()[1]]])
    looks = [(line.get_linestyle(), line.get_marker()) for line in ax.lines if line.get_label() in names]
    assert len(set(looks)) == len(names)

    nothing = RangeTest(rates[:1], losses[:1], rates[:1], losses[:1], None, None, stopped="not finite")
    _, given = plt.subplots()
    assert plot_range_test(nothing, given) is given
    assert legend(given) == names[:2]


def test_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"metrics=\('loss', 'f1'\), of which f1 .*Pass some of: loss, val_loss\."):
        plot_history(LOSSES, metrics=("loss", "f1"))
    assert plt.get_fignums() == []


def test_missing_matplotlib_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "keras-sgdr\[plot\]"'):
        plot_learning_rate(WarmRestarts(2, eta_max=0.1), 2)


def test_ensemble_shows_members_and_mean() -> None:
    members = [Scores(0.5, 0.8, 0.1), Scores(0.4, 0.9, 0.2)]
    report = Report([2, 3], members, Scores(0.3, 0.95, 0.05), np.zeros((2, 2)))
    member, mean = plot_ensemble(report, score="accuracy").lines
    assert list(np.asarray(member.get_xdata())) == [2, 3]
    assert list(np.asarray(member.get_ydata())) == [0.8, 0.9]
    assert set(np.asarray(mean.get_ydata())) == {0.95}
    assert plt.gca().get_ylabel() == "Accuracy"
    assert plt.gca().get_title() == "ensemble 0.95, last 0.9"
    with pytest.raises(ValueError, match=r'`score` must be "loss", .* or "calibration_error". Received: score=\'f1\''):
        plot_ensemble(report, score="f1")


def test_ensemble_that_is_no_classifier() -> None:
    report = Report([2, 3], [{"loss": 0.4, "mae": 0.5}, {"loss": 0.3, "mae": 0.2}], {"loss": 0.2, "mae": 0.1}, None)
    member, mean = plot_ensemble(report, score="mae").lines
    np.testing.assert_array_equal(np.asarray(member.get_xydata()), [[2, 0.5], [3, 0.2]])
    assert set(np.asarray(mean.get_ydata())) == {0.1}
    with pytest.raises(ValueError, match=r'`score` must be "loss" or "mae". Received: score=\'accuracy\''):
        plot_ensemble(report, score="accuracy")
    only = Report([2], [{"loss": 0.4}], {"loss": 0.2}, None)
    with pytest.raises(ValueError, match=r'`score` must be "loss". Received: score=\'mae\'. Pass it.'):
        plot_ensemble(only, score="mae")


def test_a_first_epoch_that_diverged_does_not_flatten_the_rest() -> None:
    history = {"loss": [0.7, 0.5, 0.4, 0.3], "val_loss": [887.0, 0.6, 0.5, 0.4]}
    low, high = plot_history(history).get_ylim()
    assert 0.2 < low < 0.3
    assert 0.6 < high < 0.8
    plt.close("all")
    _, high = plot_history({"loss": [0.7, 0.5, 0.4, 0.3]}, metrics=["loss"]).get_ylim()
    assert high > 0.7
