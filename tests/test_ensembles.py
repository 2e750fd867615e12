"""Ensembles against what NumPy makes of the members one by one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from keras_sgdr import SGDR, SnapshotEnsemble
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.snapshots import MANIFEST, Manifest, SnapshotError, sealed, weights_alone

Array = NDArray[Any]
CYCLES = 4
CLASSES = 3
X = np.random.default_rng(0).normal(size=(50, 5)).astype("float32")
Y = (X[:, 0] > 0.3).astype(int) + (X[:, 1] > 0)
# float32: sums of the members' outputs in another order.
CLOSE: Any = {"rtol": 0, "atol": 1e-6}


def classifier(*, logits: bool = True, outputs: int = CLASSES) -> Any:
    """With BatchNorm, so that weights include statistics."""
    keras.utils.set_random_seed(1)
    end = None if logits else "softmax" if outputs > 1 else "sigmoid"
    dense = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Activation("relu")]
    model = keras.Sequential([keras.Input((5,)), *dense, keras.layers.Dense(outputs, activation=end)])
    loss = keras.losses.SparseCategoricalCrossentropy if outputs > 1 else keras.losses.BinaryCrossentropy
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss(from_logits=logits), metrics=["accuracy"])
    return model


def trained(folder: Path, **options: Any) -> Any:
    model = classifier(**options)
    labels = Y if options.get("outputs", CLASSES) > 1 else (Y > 0).astype("float32")
    callbacks = [SGDR(1, 1), SnapshotCheckpoint(folder)]
    model.fit(X, labels, epochs=CYCLES, validation_data=(X, labels), verbose=0, callbacks=callbacks)
    return model


def softmax(logits: Array) -> Array:
    raised = np.exp(logits.astype("float64"))
    return raised / raised.sum(-1, keepdims=True)


def outputs_of(folder: Path, model: Any) -> list[Array]:
    """Each member's outputs, by Keras's own `predict`."""
    manifest = Manifest.read(folder)
    found = []
    for one in manifest.snapshots:
        with weights_alone(model):
            model.load_weights(manifest.path(one))
        found.append(model.predict(X, verbose=0))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshots")
    trained(path)
    return path


def test_the_mean_of_the_softmaxed_logits(folder: Path) -> None:
    model = classifier()
    expected = np.mean([softmax(one) for one in outputs_of(folder, model)], axis=0)
    ensemble = SnapshotEnsemble.load(folder, model)
    assert ensemble.from_logits
    np.testing.assert_allclose(ensemble.predict(X, batch_size=16), expected, **CLOSE)
    # The control: the mean of the logits is something else.
    assert np.abs(softmax(np.mean(outputs_of(folder, model), axis=0)) - expected).max() > 1e-3


def test_weights_are_shares_of_the_mean(folder: Path) -> None:
    model = classifier()
    first, *_, last = [softmax(one) for one in outputs_of(folder, model)]
    ensemble = SnapshotEnsemble.load(folder, model, weights=[3, 0, 0, 1])
    np.testing.assert_allclose(ensemble.predict(X), 0.75 * first + 0.25 * last, **CLOSE)


def test_probabilities_are_averaged_as_they_are(tmp_path: Path) -> None:
    model = trained(tmp_path, logits=False)
    expected = np.mean(outputs_of(tmp_path, model), axis=0)
    np.testing.assert_allclose(SnapshotEnsemble.load(tmp_path, model).predict(X), expected, **CLOSE)


def test_a_single_logit_goes_through_the_sigmoid(tmp_path: Path) -> None:
    model = trained(tmp_path, outputs=1)
    expected = np.mean([1 / (1 + np.exp(-one.astype("float64"))) for one in outputs_of(tmp_path, model)], axis=0)
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    np.testing.assert_allclose(ensemble.predict(X), expected, **CLOSE)
    assert ensemble.evaluate(X, (Y > 0)[:, None]).accuracy == ((expected[:, 0] > 0.5) == (Y > 0)).mean()
    np.testing.assert_allclose(ensemble.to_model().predict(X, verbose=0), expected, **CLOSE)


def test_what_the_model_gives_must_be_known(folder: Path) -> None:
    model = keras.Sequential(classifier().layers)
    with pytest.raises(ValueError, match=r"must know whether the model gives logits.*Pass from_logits=True"):
        SnapshotEnsemble.load(folder, model)
    assert SnapshotEnsemble.load(folder, model, from_logits=True).from_logits


class Shuffled:
    """Batches in another order at every pass."""

    def __init__(self, *, shuffle: bool) -> None:
        self.generator = np.random.default_rng(0)
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        order = self.generator.permutation(50) if self.shuffle else np.arange(50)
        for begin in range(0, 50, 20):
            yield X[order[begin : begin + 20]], Y[order[begin : begin + 20]]


class Sequence(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> tuple[Array, Array]:
        part = slice(number * 20, number * 20 + 20)
        return X[part], Y[part]


def test_data_sets_are_read_as_arrays_are(folder: Path) -> None:
    ensemble = SnapshotEnsemble.load(folder, classifier())
    expected = ensemble.predict(X)
    for data in (Shuffled(shuffle=False), Sequence(), list(Shuffled(shuffle=False))):
        np.testing.assert_allclose(ensemble.predict(data), expected, **CLOSE)
        assert ensemble.evaluate(data) == pytest.approx(ensemble.evaluate(X, Y), abs=1e-6)


def test_tensorflow_data(folder: Path) -> None:
    import tensorflow as tf

    ensemble = SnapshotEnsemble.load(folder, classifier())
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(20)
    np.testing.assert_allclose(ensemble.predict(data), ensemble.predict(X), **CLOSE)
    with pytest.raises(ValueError, match=r"the same ones in the same order at each pass"):
        ensemble.predict(data.shuffle(50))


def test_data_that_differs_between_passes_is_refused(folder: Path) -> None:
    ensemble = SnapshotEnsemble.load(folder, classifier())
    with pytest.raises(ValueError, match=r"the same ones in the same order .* Received: Shuffled"):
        ensemble.predict(Shuffled(shuffle=True))
    with pytest.raises(ValueError, match=r"Received: generator, whose batches differ between passes or are used up"):
        ensemble.report(iter(Shuffled(shuffle=False)))


def test_report(folder: Path) -> None:
    model = classifier()
    members = [softmax(one) for one in outputs_of(folder, model)]
    ensemble = SnapshotEnsemble.load(folder, model)
    report = ensemble.report(X, Y)
    for probabilities, score in zip(
        [*members, np.mean(members, axis=0)], [*report.members, report.ensemble], strict=True
    ):
        assert score.loss == pytest.approx(-np.log(probabilities[np.arange(50), Y]).mean(), abs=1e-6)
        assert score.accuracy == (probabilities.argmax(1) == Y).mean()
    classes = np.array([one.argmax(1) for one in members])
    np.testing.assert_array_equal(report.disagreement, (classes[:, None] != classes[None]).mean(-1))
    assert report.cycles == [1, 2, 3, 4]
    assert [line.split()[0] for line in str(report).splitlines()] == ["loss", *["cycle"] * 4, "ensemble"]
    assert ensemble.evaluate(X, keras.utils.to_categorical(Y, CLASSES)) == report.ensemble


def test_the_best_member_scores_as_keras_evaluates_it(folder: Path) -> None:
    model = classifier()
    ensemble = SnapshotEnsemble.load(folder, model, "best", m=1)
    score = ensemble.evaluate(X, Y)
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    assert (score.loss, score.accuracy) == pytest.approx((loss, accuracy), abs=1e-6)


def test_select(folder: Path) -> None:
    losses = [one.metrics["val_loss"] for one in Manifest.read(folder).snapshots]

    def cycles(*arguments: Any, **options: Any) -> list[int]:
        return [one.cycle for one in SnapshotEnsemble.load(folder, classifier(), *arguments, **options).members]

    assert cycles() == [1, 2, 3, 4]
    assert cycles("last", 2) == [3, 4]
    assert cycles("best", 2) == sorted(int(number) + 1 for number in np.argsort(losses)[:2])
    assert cycles("best") == [1, 2, 3, 4]


def test_greedy_keeps_what_lowers_the_loss(folder: Path) -> None:
    model = classifier()
    found = [softmax(one) for one in outputs_of(folder, model)]

    def loss(members: list[int]) -> float:
        mean = np.mean([found[number] for number in members], axis=0)
        return float(-np.log(mean[np.arange(50), Y]).mean())

    chosen: list[int] = []
    for number in np.argsort([loss([number]) for number in range(CYCLES)]):
        if not chosen or loss([*chosen, int(number)]) < loss(chosen):
            chosen.append(int(number))
    # No metric is needed where there is data.
    ensemble = SnapshotEnsemble.load(folder, model, "greedy", data=(X, Y), monitor="none")
    assert [one.cycle - 1 for one in ensemble.members] == sorted(chosen)
    assert len(SnapshotEnsemble.load(folder, model, "greedy", m=1, data=(X, Y)).members) == 1


def test_average_weights(folder: Path) -> None:
    model = classifier()
    manifest = Manifest.read(folder)
    weights = []
    for one in manifest.snapshots:
        with weights_alone(model):
            model.load_weights(manifest.path(one))
        weights.append(model.get_weights())
    averaged = SnapshotEnsemble.load(folder, model).average_weights()
    assert averaged is model
    for ours, *theirs in zip(averaged.get_weights(), *weights, strict=True):
        np.testing.assert_allclose(ours, np.mean(theirs, axis=0), rtol=1e-6, atol=1e-7)


def test_average_weights_takes_statistics_anew(folder: Path) -> None:
    model = classifier()
    SnapshotEnsemble.load(folder, model).average_weights(X, batch_size=25)
    norm = model.layers[1]
    assert norm.momentum == 0.99
    inputs = X @ np.asarray(model.layers[0].kernel) + np.asarray(model.layers[0].bias)
    means = [inputs[:25].mean(0), inputs[25:].mean(0)]
    variances = [inputs[:25].var(0), inputs[25:].var(0)]
    np.testing.assert_allclose(np.asarray(norm.moving_mean), np.mean(means, axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(norm.moving_variance), np.mean(variances, axis=0), rtol=1e-5, atol=1e-6)


def test_save_and_load(folder: Path, tmp_path: Path) -> None:
    ensemble = SnapshotEnsemble.load(folder, classifier(), "last", m=2, weights=[1, 3])
    ensemble.save(tmp_path / "two")
    again = SnapshotEnsemble.load(tmp_path / "two", classifier())
    assert again.shares == [0.25, 0.75]
    np.testing.assert_array_equal(again.predict(X), ensemble.predict(X))
    with pytest.raises(ValueError, match=r"a folder of its own. Received: directory=.*Pass another folder"):
        ensemble.save(folder)


WITHOUT_US = """
import sys
sys.modules["keras_sgdr"] = None
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


def test_the_exported_model_loads_where_keras_sgdr_cannot_be_imported(folder: Path, tmp_path: Path) -> None:
    ensemble = SnapshotEnsemble.load(folder, classifier(), weights=[1, 2, 3, 4])
    expected = ensemble.predict(X)
    ensemble.to_model().save(tmp_path / "ensemble.keras")
    np.save(tmp_path / "x.npy", X)
    paths = [str(tmp_path / name) for name in ("ensemble.keras", "x.npy", "y.npy")]
    subprocess.run([sys.executable, "-c", WITHOUT_US, *paths], check=True, cwd=tmp_path, env=dict(os.environ))
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, **CLOSE)


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> tuple[Path, bytes]:
    """A folder of one snapshot, and the bytes of that."""
    SnapshotEnsemble.load(folder, classifier(), "last", m=1).save(tmp_path / "one")
    path = next((tmp_path / "one").glob("*.h5"))
    return path, path.read_bytes()


def test_every_truncation_of_a_snapshot_is_an_error_that_names_it(damaged: tuple[Path, bytes]) -> None:
    path, content = damaged
    manifest = Manifest.read(path.parent)
    for length in reversed(range(len(content))):
        os.truncate(path, length)
        with pytest.raises(SnapshotError, match=f"{path.name}', whose content has changed"):
            manifest.path(manifest.snapshots[0])
    path.write_bytes(content)
    assert manifest.path(manifest.snapshots[0]) == path


def test_flipped_bytes_of_a_snapshot_are_an_error_that_names_it(damaged: tuple[Path, bytes]) -> None:
    path, content = damaged
    flips = random.Random(0)
    for _ in range(200):
        altered = bytearray(content)
        altered[flips.randrange(len(content))] ^= 1 << flips.randrange(8)
        path.write_bytes(altered)
        with pytest.raises(SnapshotError, match=f"{path.name}', whose content has changed"):
            SnapshotEnsemble.load(path.parent, classifier_once())


def classifier_once(made: list[Any] = []) -> Any:  # noqa: B006
    if not made:
        made.append(classifier())
    return made[0]


def test_damage_between_loading_and_predicting_is_seen(damaged: tuple[Path, bytes]) -> None:
    path, content = damaged
    ensemble = SnapshotEnsemble.load(path.parent, classifier())
    path.write_bytes(content[:-1])
    with pytest.raises(SnapshotError, match=r"whose content has changed"):
        ensemble.predict(X)
    path.unlink()
    with pytest.raises(SnapshotError, match=f"{path.name}', which cannot be read: No such file"):
        ensemble.predict(X)


def test_another_architecture_is_an_error(folder: Path) -> None:
    # Keras would load the second without a word: its file holds more than the model.
    shallow = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8)])
    for model in (classifier(outputs=2), shallow):
        ensemble = SnapshotEnsemble.load(folder, model, from_logits=True)
        with pytest.raises(
            SnapshotError, match=r"architecture that was trained. Received: .*weights.h5', whose weights"
        ):
            ensemble.predict(X)


@pytest.mark.parametrize(
    ("loss", "logits"),
    [
        ("sparse_categorical_crossentropy", False),
        (keras.losses.sparse_categorical_crossentropy, False),
        (keras.losses.MeanSquaredError(), False),
        ([keras.losses.SparseCategoricalCrossentropy(from_logits=True)], True),
        (lambda y, z: keras.losses.sparse_categorical_crossentropy(y, z, from_logits=True), None),
    ],
)
def test_what_losses_tell(folder: Path, loss: Any, logits: bool | None) -> None:
    model = classifier()
    model.compile(loss=loss)
    if logits is not None:
        assert SnapshotEnsemble.load(folder, model).from_logits is logits
    else:
        with pytest.raises(ValueError, match=r"which does not tell. Pass from_logits=True"):
            SnapshotEnsemble.load(folder, model)


def test_labels_that_do_not_exclude_each_other_go_through_the_sigmoid(folder: Path) -> None:
    model = classifier()
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    ensemble = SnapshotEnsemble.load(folder, model)
    expected = np.mean([1 / (1 + np.exp(-one.astype("float64"))) for one in outputs_of(folder, model)], axis=0)
    np.testing.assert_allclose(ensemble.predict(X), expected, **CLOSE)
    np.testing.assert_allclose(ensemble.to_model().predict(X, verbose=0), expected, **CLOSE)
    with pytest.raises(ValueError, match=r"whose classes exclude each other. Received: .* and 3 outputs"):
        ensemble.report(X, Y)


def test_a_model_of_several_outputs_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((5,))
    model = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)])
    model.compile(keras.optimizers.SGD(0.1), ["mse", "mse"])
    zeros = np.zeros((50, 2))
    model.fit(X, [zeros, zeros], verbose=0, callbacks=[SGDR(1, 1), SnapshotCheckpoint(tmp_path)])
    ensemble = SnapshotEnsemble.load(tmp_path, model, from_logits=False)
    with pytest.raises(ValueError, match=r"must be of a model of one output. Received: .* which has 2"):
        ensemble.predict(X)


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


def test_statistics_of_layers_inside_layers_are_taken_anew(tmp_path: Path) -> None:
    block = Block()
    model = keras.Sequential([keras.Input((5,)), block, keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, verbose=0, callbacks=[SGDR(1, 1), SnapshotCheckpoint(tmp_path)])
    SnapshotEnsemble.load(tmp_path, model).average_weights(X + 5, batch_size=50)
    mean = keras.ops.convert_to_numpy(block.norm.moving_mean)
    np.testing.assert_allclose(mean, (X + 5).mean(0), rtol=1e-5)


def test_weights_in_bfloat16_are_averaged(tmp_path: Path) -> None:
    inputs = keras.Input((5,), dtype="bfloat16")
    model = keras.Model(inputs, keras.layers.Dense(3, dtype="bfloat16")(inputs))
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[SGDR(1, 1), SnapshotCheckpoint(tmp_path)])
    last = keras.ops.convert_to_numpy(model.weights[0]).astype("float32")
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    next(ensemble._members())
    first = keras.ops.convert_to_numpy(model.weights[0]).astype("float32")
    ensemble.average_weights()
    averaged = keras.ops.convert_to_numpy(model.weights[0]).astype("float32")
    assert np.abs(first - last).max() > 0.01
    # bfloat16 has 8 bits.
    np.testing.assert_allclose(averaged, (first + last) / 2, rtol=2**-8)


def test_any_change_of_a_manifest_is_an_error_that_names_it(folder: Path, tmp_path: Path) -> None:
    text = (folder / MANIFEST).read_bytes()
    path = tmp_path / MANIFEST
    for length in range(0, len(text) - 1, 7):  # Without the last line break it is whole.
        path.write_bytes(text[:length])
        with pytest.raises(SnapshotError, match=f"{MANIFEST}', damaged: "):
            Manifest.read(tmp_path)
    whole = Manifest.read(folder).snapshots
    flips, said = random.Random(0), set()
    for _ in range(200):
        altered = bytearray(text)
        altered[flips.randrange(len(text))] ^= 1 << flips.randrange(8)
        path.write_bytes(altered)
        try:
            found = Manifest.read(tmp_path).snapshots
        except SnapshotError as error:
            said.add(str(error).partition(", damaged: ")[0])
        else:
            # White space may change and change nothing.
            assert found == whole
    assert said == {f"The manifest of the snapshots must be as it was written. Received: {str(path)!r}"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2"),
        ({"snapshots": {"file": "../cycle-001_epoch-0001.weights.h5"}}, "not a snapshot"),
        ({"snapshots": {"cycle": 0}}, "not a snapshot"),
        ({"snapshots": {"code": "1"}}, "unknown entries"),
        ({"snapshots": {"cycle": 2}}, "listed twice"),
    ],
)
def test_a_manifest_of_other_content_is_an_error(
    folder: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    content.pop("sha256")
    if "snapshots" in change:
        content["snapshots"][0].update(change["snapshots"])
    else:
        content.update(change)
    (tmp_path / MANIFEST).write_text(sealed(content))
    with pytest.raises(SnapshotError, match=f"{MANIFEST}', damaged: .*{reason}"):
        SnapshotEnsemble.load(tmp_path, classifier())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"select": "first"}, r'`select` must be "all", "last", "best" or "greedy"'),
        ({"m": 2}, r'`m` must be a positive integer, and `select` other than "all"'),
        ({"select": "last", "m": 0}, r"`m` must be a positive integer"),
        ({"select": "last", "m": 9}, r"`m` must be at most the 4 snapshots"),
        (
            {"weights": [1, 2]},
            r"`weights` must be .* one for each of the 4 members. Received: weights=\[1, 2\]",
        ),
        ({"weights": [0, 0, 0, 0]}, r"`weights` must be numbers, 0 or more and not all 0"),
        ({"select": "greedy"}, r'select="greedy" must have data'),
        (
            {"select": "best", "monitor": "val_auc"},
            r"monitor='val_auc', which none has. Pass one of: accuracy, loss, val_acc",
        ),
    ],
)
def test_a_wrong_argument_is_refused(folder: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SnapshotEnsemble.load(folder, classifier(), **arguments)


def test_wrong_data_is_refused(folder: Path) -> None:
    ensemble = SnapshotEnsemble.load(folder, classifier())
    with pytest.raises(ValueError, match=r"the same number of samples, at least 1. Received: samples=\[49, 50\]"):
        ensemble.evaluate(X, Y[1:])
    with pytest.raises(ValueError, match=r"must have labels. Received: y=None"):
        ensemble.evaluate(X)
    with pytest.raises(ValueError, match=r"`batch_size` must be a positive integer. Received: batch_size=0"):
        ensemble.predict(X, batch_size=0)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    Manifest(tmp_path).write()
    with pytest.raises(ValueError, match=r"An ensemble must have members with a share. Received: snapshots=\[\]"):
        SnapshotEnsemble.load(tmp_path, classifier())
