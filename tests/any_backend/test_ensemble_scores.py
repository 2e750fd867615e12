"""Ensembles of models that are no classifiers of one output: scored as Keras would score the mean of the outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SnapshotEnsemble
from keras_sgdr.snapshots import scores
from tests.support.members import SAMPLES, Array, X, Y, load_member, outputs_of_members, save_members, sigmoid, softmax

# float32: sums of the members' outputs in another order.
CLOSE: Any = {"rtol": 1e-5, "atol": 1e-6}
TARGETS = np.random.default_rng(1).uniform(size=(SAMPLES, 3)).astype("float32")
TAGS = (TARGETS > 0.5).astype("float32")


def dense(units: int = 3, activation: str | None = None, **compiling: Any) -> Any:
    model = keras.Sequential([keras.Input((X.shape[1],)), keras.layers.Dense(units, activation)])
    model.compile("sgd", **compiling)
    return model


def two_headed(structure: str, **compiling: Any) -> Any:
    """A model of a regression and a classification, as a list or a dict of outputs."""
    inputs = keras.Input((X.shape[1],))
    outputs = {
        "value": keras.layers.Dense(2, name="value")(inputs),
        "kind": keras.layers.Dense(3, name="kind")(inputs),
    }
    model = keras.Model(inputs, outputs if structure == "dict" else list(outputs.values()))
    model.compile("sgd", **compiling)
    return model


def regression_error(outputs: Array) -> float:
    return float(np.mean((outputs - TARGETS) ** 2))


def test_a_regression_is_scored_by_its_own_loss_and_metrics(tmp_path: Path) -> None:
    """Public report: Snapshot-Ensembles#5."""
    model = dense(3, "sigmoid", loss="mse", metrics=["mae"])
    manifest = save_members(tmp_path, model, losses=[1, 2, 3])
    outputs = outputs_of_members(manifest, model)
    report = SnapshotEnsemble.load(tmp_path, model, weights=[1, 2, 1]).report(X, TARGETS)
    mean = np.average(outputs, axis=0, weights=[1, 2, 1])
    assert report.ensemble == pytest.approx(
        {"loss": regression_error(mean), "mae": float(np.abs(mean - TARGETS).mean())}, rel=1e-5
    )
    assert [row["loss"] for row in report.members] == pytest.approx([regression_error(o) for o in outputs], rel=1e-5)
    assert report.disagreement is None
    assert [line.split()[0] for line in str(report).splitlines()] == ["loss", *["cycle"] * 3, "ensemble"]
    assert "mae" in str(report).splitlines()[0]


def chosen(outputs: list[Array], loss: Callable[[Array], float]) -> list[int]:
    """Numbers of the members that "greedy" is to choose."""

    def together(members: list[int]) -> float:
        return loss(np.mean([outputs[member] for member in members], axis=0))

    members: list[int] = []
    for number in np.argsort([together([number]) for number in range(len(outputs))]).tolist():
        if not members or together([*members, number]) < together(members):
            members.append(number)
    return sorted(members)


def test_greedy_goes_by_the_loss_of_a_regression(tmp_path: Path) -> None:
    model = dense(3, "sigmoid", loss="mse")
    outputs = outputs_of_members(save_members(tmp_path, model, losses=[1, 2, 3, 4]), model)
    targets = outputs[0] * np.array([0.3, 0.6, 0.9], "float32")
    ensemble = SnapshotEnsemble.load(tmp_path, model, "greedy", data=(X, targets))
    expected = chosen(outputs, lambda mean: float(np.mean((mean - targets) ** 2)))
    assert [member.cycle - 1 for member in ensemble.members] == expected
    # The control: as scores of classes they would have chosen others.
    classes = targets.argmax(axis=1)
    assert chosen(outputs, lambda mean: scores(mean, classes)[0].loss) != expected


@pytest.mark.parametrize("logits", [True, False])
def test_labels_that_do_not_exclude_each_other_are_scored(tmp_path: Path, logits: bool) -> None:
    loss = keras.losses.BinaryCrossentropy(from_logits=logits)
    model = dense(
        3, None if logits else "sigmoid", loss=loss, metrics=[keras.metrics.AUC(from_logits=logits, name="auc")]
    )
    manifest = save_members(tmp_path, model, losses=[1, 2])
    outputs = outputs_of_members(manifest, model)
    mean = np.mean([sigmoid(output) if logits else output for output in outputs], axis=0, dtype="float64")
    report = SnapshotEnsemble.load(tmp_path, model).report(X, TAGS)
    expected = -np.mean(TAGS * np.log(mean) + (1 - TAGS) * np.log(1 - mean))
    assert report.ensemble["loss"] == pytest.approx(expected, rel=1e-4)
    load_member(manifest, 1, model)
    assert report.members[1] == pytest.approx(model.evaluate(X, TAGS, verbose=0, return_dict=True), rel=1e-4)
    assert set(report.ensemble) == {"loss", "auc"}


@pytest.mark.parametrize("structure", ["list", "dict"])
@pytest.mark.parametrize("by_name", [True, False])
def test_several_outputs_go_by_the_loss_of_each(tmp_path: Path, structure: str, by_name: bool) -> None:
    losses = {"value": "mse", "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    compiling: dict[str, Any] = {"loss": losses, "loss_weights": {"value": 2.0, "kind": 1.0}}
    if structure == "list" and not by_name:
        compiling = {"loss": list(losses.values()), "loss_weights": [2.0, 1.0]}
    model = two_headed(structure, metrics={"kind": ["accuracy"], "value": []}, **compiling)
    manifest = save_members(tmp_path, model, losses=[1, 2])
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    labels = {"value": TARGETS[:, :2], "kind": Y} if structure == "dict" else [TARGETS[:, :2], Y]
    # Batches of one size: on TensorFlow, Keras takes the mean of the batches' means of each output's loss.
    report = ensemble.report(X, labels, batch_size=25)
    for number in range(2):
        load_member(manifest, number, model)
        alone = model.evaluate(X, labels, batch_size=25, verbose=0, return_dict=True)
        assert report.members[number] == pytest.approx(alone, rel=1e-4)
    outputs = outputs_of_members(manifest, model)
    value, kind = ("value", "kind") if structure == "dict" else (0, 1)
    predicted = ensemble.predict(X)
    np.testing.assert_allclose(predicted[value], np.mean([each[value] for each in outputs], axis=0), **CLOSE)
    mean = np.mean([softmax(each[kind]) for each in outputs], axis=0)
    np.testing.assert_allclose(predicted[kind], mean, **CLOSE)
    expected = 2 * np.mean((predicted[value] - TARGETS[:, :2]) ** 2) - np.log(mean[np.arange(SAMPLES), Y]).mean()
    assert report.ensemble["loss"] == pytest.approx(expected, rel=1e-4)
    exported = ensemble.to_model().predict(X, verbose=0)
    for key in (value, kind):
        np.testing.assert_allclose(exported[key], predicted[key], **CLOSE)


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_fractions_that_are_no_class_are_refused(tmp_path: Path, structure: str) -> None:
    """Keras cuts them to classes."""
    losses = {"value": "mse", "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    model = two_headed(structure, loss=losses if structure == "dict" else list(losses.values()))
    save_members(tmp_path, model, losses=[1])
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    labels = {"value": TARGETS[:, :2], "kind": Y + 0.9} if structure == "dict" else [TARGETS[:, :2], Y + 0.9]
    with pytest.raises(ValueError, match=r"whole numbers of classes where .* Received: loss=.*labels such as \d\.9"):
        ensemble.evaluate(X, labels)


def test_a_data_set_brings_the_weights_of_its_samples(tmp_path: Path) -> None:
    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[Array, ...]:
            part = slice(25 * index, 25 * index + 25)
            return X[part], TARGETS[part], TARGETS[part, 0]

    model = dense(loss="mse", weighted_metrics=["mae"])
    manifest = save_members(tmp_path, model, losses=[1])
    (score,) = SnapshotEnsemble.load(tmp_path, model).report(Batches()).members
    load_member(manifest, 0, model)
    assert score == pytest.approx(
        model.evaluate(X, TARGETS, sample_weight=TARGETS[:, 0], verbose=0, return_dict=True), rel=1e-4
    )


def test_neither_the_model_nor_its_metrics_change(tmp_path: Path) -> None:
    model = dense(loss="mse", metrics=["mae"])
    save_members(tmp_path, model, losses=[1, 2])
    model.evaluate(X, TARGETS, verbose=0)
    before = {name: float(value) for name, value in model.get_metrics_result().items()}
    SnapshotEnsemble.load(tmp_path, model).evaluate(X, TARGETS)
    assert {name: float(value) for name, value in model.get_metrics_result().items()} == before


def test_targets_that_are_no_classes_are_refused_where_no_loss_tells(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((X.shape[1],)), keras.layers.Dense(3, "sigmoid")])
    save_members(tmp_path, model, losses=[1])
    ensemble = SnapshotEnsemble.load(tmp_path, model, from_logits=False)
    for labels in (TARGETS, TARGETS[:, 0]):
        with pytest.raises(
            ValueError, match=r"whole numbers of classes, or one-hot. Received: labels such as \[0\..*Compile"
        ):
            ensemble.evaluate(X, labels)


def test_as_many_losses_as_outputs_are_required(tmp_path: Path) -> None:
    model = two_headed("list", loss=["mse", "mse"])
    save_members(tmp_path, model, losses=[1])
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    model.loss = ["mse", "mse", "mse"]
    with pytest.raises(ValueError, match=r"one loss for each output. Received: .* has 2 outputs, compiled with loss="):
        ensemble.predict(X)


def test_a_model_that_gives_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    model = dense(loss="mse")
    save_members(tmp_path, model, losses=[1])
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    given = model.predict
    model.predict = lambda x, **options: np.repeat(given(x, **options), 2, axis=0)
    with pytest.raises(
        ValueError, match=rf"must give {SAMPLES} outputs .* Received: outputs=\[{2 * SAMPLES}\]. Predict without"
    ):
        ensemble.predict(X)
