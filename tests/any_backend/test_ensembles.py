"""Ensembles against what NumPy makes of the members one by one; afterwards the model has the weights that it had."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SnapshotEnsemble
from keras_sgdr.snapshots import Manifest, SnapshotError, scores
from tests.support.members import (
    CLASSES,
    SAMPLES,
    Array,
    X,
    Y,
    load_member,
    outputs_of_members,
    save_members,
    sigmoid,
    softmax,
)
from tests.support.small_model import assert_equal, values

# float32: sums of the members' outputs in another order.
CLOSE: Any = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module")
def logits(compiled: Any, folder: Path) -> list[Array]:
    return outputs_of_members(Manifest.read(folder), compiled)


@pytest.fixture
def model(compiled: Any, folder: Path, logits: list[Array]) -> Any:
    """The one model of these tests, with weights that are no member's."""
    compiled.set_weights([np.ones(variable.shape) for variable in compiled.weights])
    return compiled


@pytest.fixture
def restored(model: Any) -> Iterator[None]:
    """Requires that a test leaves the model's weights as they were."""
    before = values(model.variables)
    yield
    assert_equal(values(model.variables), before)


def test_the_mean_of_the_softmaxed_logits(folder: Path, model: Any, logits: list[Array], restored: None) -> None:
    expected = np.mean([softmax(output) for output in logits], axis=0)
    ensemble = SnapshotEnsemble.load(folder, model)
    assert ensemble.from_logits
    np.testing.assert_allclose(ensemble.predict(X, batch_size=16), expected, **CLOSE)
    # The control: the mean of the logits is something else.
    assert np.abs(softmax(np.mean(logits, axis=0)) - expected).max() > 1e-3


def test_weights_are_shares_of_the_mean(folder: Path, model: Any, logits: list[Array]) -> None:
    first, *_, last = [softmax(output) for output in logits]
    ensemble = SnapshotEnsemble.load(folder, model, weights=[3, 0, 0, 1])
    np.testing.assert_allclose(ensemble.predict(X), 0.75 * first + 0.25 * last, **CLOSE)


def test_probabilities_are_averaged_as_they_are(folder: Path, model: Any, logits: list[Array]) -> None:
    ensemble = SnapshotEnsemble.load(folder, model, from_logits=False)
    np.testing.assert_allclose(ensemble.predict(X), np.mean(logits, axis=0), rtol=1e-6, atol=1e-6)


def test_a_single_logit_of_several_inputs_goes_through_the_sigmoid(tmp_path: Path) -> None:
    inputs = {"left": keras.Input((2,), name="left"), "right": keras.Input((3,), name="right")}
    joined = keras.layers.Concatenate()([inputs["left"], inputs["right"]])
    model = keras.Model(inputs, keras.layers.Dense(1)(joined))
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    x, y = {"left": X[:, :2], "right": X[:, 2:]}, Y > 0
    manifest = save_members(tmp_path, model, losses=[1, 2])
    expected = np.mean([sigmoid(output) for output in outputs_of_members(manifest, model, x)], axis=0)
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    np.testing.assert_allclose(ensemble.predict(x), expected, **CLOSE)
    assert ensemble.evaluate(x, y[:, None]).accuracy == ((expected[:, 0] > 0.5) == y).mean()
    np.testing.assert_allclose(ensemble.to_model().predict(x, verbose=0), expected, **CLOSE)


def test_labels_that_do_not_exclude_each_other_go_through_the_sigmoid(
    folder: Path, model: Any, logits: list[Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "loss", keras.losses.BinaryCrossentropy(from_logits=True))
    ensemble = SnapshotEnsemble.load(folder, model, "last", n_members=2)
    expected = np.mean([sigmoid(output) for output in logits[-2:]], axis=0)
    np.testing.assert_allclose(ensemble.predict(X), expected, **CLOSE)
    np.testing.assert_allclose(ensemble.to_model().predict(X, verbose=0), expected, **CLOSE)
    with pytest.raises(ValueError, match=r"whose classes exclude each other. Received: .* and 3 outputs"):
        ensemble.report(X, Y)


# Data sets


class Sequence(keras.utils.PyDataset):
    """Batches, in another order after each pass where they are shuffled."""

    def __init__(self, *, shuffled: bool = False, batches: int = 3) -> None:
        super().__init__()
        self.order, self.shuffled, self.batches = np.arange(SAMPLES), shuffled, batches

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        part = self.order[index * 20 : index * 20 + 20]
        return X[part], Y[part]

    def on_epoch_end(self) -> None:
        if self.shuffled:
            self.order = np.roll(self.order, 1)


def test_data_sets_are_read_as_arrays_are(folder: Path, model: Any, logits: list[Array], restored: None) -> None:
    import tensorflow as tf  # Keras takes its data sets on every backend, and those of PyTorch.
    import torch

    ensemble = SnapshotEnsemble.load(folder, model, "last", n_members=2)
    expected = np.mean([softmax(output) for output in logits[-2:]], axis=0)
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    loader: Any = torch.utils.data.DataLoader(tensors, 20)
    for data in (Sequence(), tf.data.Dataset.from_tensor_slices((X, Y)).batch(20), loader):
        np.testing.assert_allclose(ensemble.predict(data), expected, **CLOSE)
    assert ensemble.evaluate(Sequence()) == pytest.approx(scores(expected, Y)[0], abs=1e-6)


def test_data_that_differs_between_passes_is_refused(folder: Path, model: Any, restored: None) -> None:
    import tensorflow as tf

    ensemble = SnapshotEnsemble.load(folder, model, "last", n_members=2)
    shuffled = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(SAMPLES).batch(20)
    refused: list[tuple[Callable[[Any], Any], Any, str]] = [
        (ensemble.predict, shuffled, "_?BatchDataset"),
        (ensemble.predict, Sequence(shuffled=True), "Sequence"),
        (ensemble.report, Sequence(shuffled=True), "Sequence"),
        (ensemble.report, (batch for batch in shuffled), "generator"),
    ]
    for method, data, name in refused:
        rule = "A data set must bring the same batches in the same order at each pass: each member reads it once."
        with pytest.raises(ValueError, match=rf"{rule} Received: {name}, whose batches differ between passes or are"):
            method(data)
    with pytest.raises(ValueError, match=r"in the same order at each pass"):
        SnapshotEnsemble.load(folder, model, "greedy", data=Sequence(shuffled=True))


def test_wrong_data_is_refused(folder: Path, model: Any, restored: None) -> None:
    ensemble = SnapshotEnsemble.load(folder, model)
    with pytest.raises(ValueError, match=r"the same number of samples, at least 1. Received: samples=\[49, 50\]"):
        ensemble.evaluate(X, Y[1:])
    with pytest.raises(ValueError, match=r"must have labels. Received: y=None"):
        ensemble.evaluate(X)
    with pytest.raises(ValueError, match=r"labels of a data set must be part of it. Received: y='ndarray'. Leave"):
        ensemble.evaluate(Sequence(), Y)
    with pytest.raises(ValueError, match=r"Labels must be classes from 0 to 2. Received: labels from 7 to 9"):
        ensemble.evaluate(X, Y + 7)
    with pytest.raises(
        ValueError, match=r"must hold batches, all with labels or all without. Received: batches=0. Pass"
    ):
        ensemble.predict(Sequence(batches=0))
    with pytest.raises(ValueError, match=r"`batch_size` must be a positive integer. Received: batch_size=0"):
        ensemble.predict(X, batch_size=0)


@pytest.mark.tensorflow
@pytest.mark.slow
def test_under_a_strategy_an_ensemble_predicts_as_without_it(tmp_path: Path) -> None:
    """Public report: tensorflow#39270. Batches that two replicas share, evenly or not."""
    path = tmp_path / "predictions.npz"
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.mirrored_ensemble", str(path)]
    subprocess.run(command, check=True, timeout=300)
    with np.load(path) as results:
        assert results["replicas"] == 2
        pairs = [name.removesuffix("/alone") for name in results if name.endswith("/alone")]
        assert len(pairs) == 20
        for name in pairs:
            np.testing.assert_allclose(results[f"{name}/mirrored"], results[f"{name}/alone"], rtol=1e-5, atol=1e-6)


# Scores and selection


def test_report(folder: Path, model: Any, logits: list[Array], restored: None) -> None:
    members = [softmax(output) for output in logits]
    ensemble = SnapshotEnsemble.load(folder, model)
    report = ensemble.report(X, Y)
    together = np.mean(members, axis=0)
    for probabilities, score in zip([*members, together], [*report.members, report.ensemble], strict=True):
        assert score.loss == pytest.approx(-np.log(probabilities[np.arange(SAMPLES), Y]).mean(), abs=1e-6)
        assert score.accuracy == (probabilities.argmax(1) == Y).mean()
    classes = np.array([probabilities.argmax(1) for probabilities in members])
    np.testing.assert_array_equal(report.disagreement, (classes[:, None] != classes[None]).mean(-1))
    assert report.cycles == [1, 2, 3, 4]
    assert [line.split()[0] for line in str(report).splitlines()[:6]] == ["loss", *["cycle"] * 4, "ensemble"]


def test_the_best_member_scores_as_keras_evaluates_it(folder: Path, model: Any) -> None:
    labels = keras.utils.to_categorical(Y, CLASSES)
    score = SnapshotEnsemble.load(folder, model, "best", n_members=1).evaluate(X, labels)
    load_member(Manifest.read(folder), 3, model)  # Of the lowest `val_loss`.
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    # Relative: the loss is about 8, where two neighbours in float32 differ by 5e-7.
    assert (score.loss, score.accuracy) == pytest.approx((loss, accuracy), rel=1e-6)


def test_greedy_keeps_what_lowers_the_loss(folder: Path, model: Any, logits: list[Array], restored: None) -> None:
    def loss(members: list[int]) -> float:
        mean = np.mean([softmax(logits[number]) for number in members], axis=0)
        return float(-np.log(mean[np.arange(SAMPLES), Y]).mean())

    chosen: list[int] = []
    for number in np.argsort([loss([number]) for number in range(4)]).tolist():
        if not chosen or loss([*chosen, number]) < loss(chosen):
            chosen.append(number)
    assert 1 < len(chosen) < 4
    ensemble = SnapshotEnsemble.load(folder, model, "greedy", data=(X, Y))
    assert [member.cycle - 1 for member in ensemble.members] == sorted(chosen)


# Averages of weights


def test_average_weights(folder: Path, model: Any) -> None:
    manifest = Manifest.read(folder)
    weights = []
    for number in range(4):
        load_member(manifest, number, model)
        weights.append(model.get_weights())
    averaged = SnapshotEnsemble.load(folder, model, weights=[1, 1, 1, 3]).average_weights()
    assert averaged is model
    for ours, *theirs in zip(averaged.get_weights(), *weights, strict=True):
        np.testing.assert_allclose(ours, np.average(theirs, axis=0, weights=[1, 1, 1, 3]), rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """A layer that holds a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = keras.layers.BatchNormalization()

    def build(self, shape: Any) -> None:
        self.norm.build(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.norm(x, training=training)


def test_average_weights_takes_statistics_anew(tmp_path: Path) -> None:
    """Those of layers inside layers too, as means over batches; those of frozen layers stay."""
    block, frozen = Block(), keras.layers.BatchNormalization(trainable=False)
    model = keras.Sequential([keras.Input((5,)), block, frozen, keras.layers.Dense(3)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    manifest = save_members(tmp_path, model, losses=[1])
    before = values([frozen.moving_mean, frozen.moving_variance])
    ensemble = SnapshotEnsemble(manifest, model, manifest.snapshots)
    for data in (X, [(X[:25], Y[:25]), (X[25:], Y[25:])].__iter__()):
        ensemble.average_weights(data, batch_size=25)
        mean, variance = values([block.norm.moving_mean, block.norm.moving_variance])
        np.testing.assert_allclose(mean, X.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(variance, (X[:25].var(0) + X[25:].var(0)) / 2, rtol=1e-5, atol=1e-6)
        assert block.norm.momentum == 0.99
        assert_equal(values([frozen.moving_mean, frozen.moving_variance]), before)


def test_weights_in_bfloat16_are_averaged(tmp_path: Path) -> None:
    inputs = keras.Input((5,), dtype="bfloat16")
    model = keras.Model(inputs, keras.layers.Dense(3, dtype="bfloat16")(inputs))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    manifest = save_members(tmp_path, model, losses=[1, 2])
    kernels = []
    for number in range(2):
        load_member(manifest, number, model)
        kernels.append(keras.ops.convert_to_numpy(model.weights[0]).astype("float32"))
    SnapshotEnsemble.load(tmp_path, model).average_weights()
    averaged = keras.ops.convert_to_numpy(model.weights[0]).astype("float32")
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01
    # bfloat16 has 8 bits; where the two cancel, those of the larger count.
    np.testing.assert_allclose(averaged, np.mean(kernels, axis=0), rtol=2**-8, atol=1e-6)


# Files


def test_save_and_load(folder: Path, model: Any, tmp_path: Path, restored: None) -> None:
    ensemble = SnapshotEnsemble.load(folder, model, "last", n_members=2, weights=[1, 3])
    ensemble.save(tmp_path / "two")
    again = SnapshotEnsemble.load(tmp_path / "two", model)
    assert again.shares == [0.25, 0.75]
    np.testing.assert_array_equal(again.predict(X), ensemble.predict(X))


def test_the_exported_model_predicts_what_the_ensemble_does(
    folder: Path, model: Any, tmp_path: Path, restored: None
) -> None:
    ensemble = SnapshotEnsemble.load(folder, model, "last", n_members=2, weights=[1, 2])
    path = tmp_path / "ensemble.keras"
    ensemble.to_model().save(path)
    exported = keras.saving.load_model(path).predict(X, verbose=0)
    np.testing.assert_allclose(exported, ensemble.predict(X), **CLOSE)


def test_damage_between_loading_and_predicting_is_seen(
    folder: Path, model: Any, tmp_path: Path, restored: None
) -> None:
    SnapshotEnsemble.load(folder, model, "last", n_members=2).save(tmp_path / "two")
    ensemble = SnapshotEnsemble.load(tmp_path / "two", model)
    path = sorted((tmp_path / "two").glob("*.h5"))[-1]  # The first member's weights are in the model by then.
    path.write_bytes(path.read_bytes()[:-1])
    for use in (ensemble.predict, ensemble.average_weights):
        with pytest.raises(SnapshotError, match=f"{path.name}', whose content has changed"):
            use(X)
    path.unlink()
    with pytest.raises(SnapshotError, match=f"{path.name}', which cannot be read: No such file"):
        ensemble.predict(X)


def test_an_exception_in_the_data_leaves_the_model_as_it_was(folder: Path, model: Any, restored: None) -> None:
    """On JAX the variables have no values by then."""

    class Broken(Sequence):
        passes = 0

        def on_epoch_begin(self) -> None:
            self.passes += 1

        def __getitem__(self, index: int) -> tuple[Array, Array]:
            if self.passes == 2 and index == 1:
                raise OSError("stop here")
            return super().__getitem__(index)

    with pytest.raises(Exception, match="stop here"):
        SnapshotEnsemble.load(folder, model).predict(Broken())


def test_a_model_of_several_outputs_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((5,))
    model = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)])
    save_members(tmp_path, model, losses=[1])
    ensemble = SnapshotEnsemble.load(tmp_path, model, from_logits=False)
    with pytest.raises(ValueError, match=r"must be of a model of one output. Received: .* which has 2"):
        ensemble.predict(X)
