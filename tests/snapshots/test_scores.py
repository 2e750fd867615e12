"""Scores on numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keras_sgdr.snapshots.scores import Report, Scores, higher_is_better, probabilities, scores


def test_scores() -> None:
    outputs = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]])
    score, predicted = scores(outputs, np.array([0, 1, 1, 0]))
    assert predicted.tolist() == [0, 0, 1, 1]
    assert score.accuracy == 0.5
    assert score.loss == pytest.approx(-np.log([0.9, 0.2, 0.7, 0.45]).mean())
    # Each confidence in a bin of its own: (0.1 + 0.8 + 0.3 + 0.55) / 4.
    assert score.calibration_error == pytest.approx(0.4375)


def test_a_report_of_many_members_fits_80_columns() -> None:
    members, disagreement = [Scores(0.5, 0.5, 0.1)] * 12, np.full((12, 12), 0.125)
    lines = str(Report(list(range(1, 13)), members, Scores(0.4, 0.5, 0.1), disagreement)).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.count("0.125") for line in lines) == 144
    metrics = {f"a_metric_of_the_model_{number}": 0.1 for number in range(6)}
    lines = str(Report([1], [metrics], metrics, None)).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(name in " ".join(lines).split() for name in metrics)


def test_a_report_says_which_members_disagree() -> None:
    disagreement = np.array([[0, 0.0625, 0.25], [0.0625, 0, 0.5], [0.25, 0.5, 0]])
    report = Report([1, 2, 4], [Scores(0.5, 0.75, 0.1)] * 3, Scores(12.25, 0.875, 0.0625), disagreement)
    assert str(report).splitlines() == [
        "             loss  accuracy  calibration error",
        "cycle 1    0.5000    0.7500             0.1000",
        "cycle 2    0.5000    0.7500             0.1000",
        "cycle 4    0.5000    0.7500             0.1000",
        "ensemble  12.2500    0.8750             0.0625",
        "",
        "Share of samples that two members put into different classes:",
        "         cycle 1  cycle 2  cycle 4",
        "cycle 1    0.000    0.062    0.250",
        "cycle 2    0.062    0.000    0.500",
        "cycle 4    0.250    0.500    0.000",
    ]
    alone = Report([2], [Scores(0.5, 0.75, 0.1)], Scores(0.5, 0.75, 0.1), np.zeros((1, 1)))
    assert [line.split()[0] for line in str(alone).splitlines()] == ["loss", "cycle", "ensemble"]


def test_calibration_is_judged_by_the_bin() -> None:
    # Three of four right at a confidence of .75 is as it should be.
    outputs = np.array([[0.75, 0.25]] * 4)
    assert scores(outputs, np.array([0, 0, 0, 1]))[0].calibration_error == pytest.approx(0)
    assert scores(outputs, np.array([0, 0, 0, 0]))[0].calibration_error == pytest.approx(0.25)


def test_a_probability_of_nothing_is_a_finite_loss() -> None:
    assert np.isfinite(scores(np.array([[1.0, 0.0]]), np.array([1]))[0].loss)


def test_logits_do_not_overflow() -> None:
    np.testing.assert_allclose(probabilities(np.array([[1e4, 0.0]]), "softmax"), [[1, 0]])
    np.testing.assert_allclose(probabilities(np.array([[1e4], [-1e4], [0.0]]), "sigmoid"), [[1.0], [0.0], [0.5]])


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a classifier of one output.*shape \(2, 3, 4\) and labels of shape \(2,\)"):
        scores(np.zeros((2, 3, 4)), np.zeros(2))


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=r"Labels must be classes from 0 to 1. Received: labels from "):
        scores(np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([0, label]))


@pytest.mark.parametrize(
    ("metric", "higher"),
    [("val_loss", False), ("mae", False), ("cross_entropy", False), ("val_accuracy", True), ("auc", True)],
)
def test_the_name_of_a_metric_tells_its_direction(metric: str, higher: bool) -> None:
    assert higher_is_better(metric) is higher
    assert higher_is_better(metric, "max")
    assert not higher_is_better(metric, "min")


@pytest.mark.parametrize("labels", [[0.9, 1.0], [np.nan, 1.0], [np.inf, 1.0], [[0.9], [1.0]], ["0", "1"]])
def test_a_fraction_is_no_class(labels: Any) -> None:
    with pytest.raises(ValueError, match=r"Labels must be whole numbers of classes, or one-hot. Received: labels such"):
        scores(np.array([[0.5, 0.5], [0.5, 0.5]]), np.array(labels))


def test_shares_of_classes_are_not_cut_to_classes() -> None:
    """Smoothed labels: the cross-entropy is that of Keras, in which each class counts by its share."""
    outputs, labels = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([[0.9, 0.1], [0.2, 0.8]])
    score, _ = scores(outputs, labels)
    assert score.loss == pytest.approx(-(labels * np.log(outputs)).sum(1).mean())
    assert score.accuracy == 1
    with pytest.raises(ValueError, match="whole numbers of classes, or one-hot"):
        scores(outputs, np.array([[1.5, -0.5], [0.0, 1.0]]))
