"""Ensembles of models that begin with text, as lists, arrays and tensors of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SnapshotEnsemble
from tests.support.members import load_member, save_members, softmax

TEXT = ["a warm restart", "a cold one", "warm", "cold restart"]
LABELS = np.array([0, 1, 0, 1])
FORMS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "tuple": tuple,
    "text": np.array,
    "bytes": lambda text: np.array([each.encode() for each in text]),
    "objects": lambda text: np.array(text, object),
}


def text_model(shape: tuple[int, ...]) -> Any:
    words = keras.layers.TextVectorization(max_tokens=9, output_sequence_length=3)
    words.adapt(TEXT)
    layers = [keras.Input(shape, dtype="string"), words, keras.layers.Embedding(9, 3), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.tensorflow
@pytest.mark.parametrize("shape", [(), (1,)])
def test_text_in_any_form_is_predicted_and_scored(tmp_path: Path, shape: tuple[int, ...]) -> None:
    import tensorflow as tf

    model = text_model(shape)
    manifest = save_members(tmp_path, model, losses=[1, 2])
    text: Any = TEXT if not shape else [[each] for each in TEXT]
    outputs = []
    for number in range(2):
        load_member(manifest, number, model)
        outputs.append(softmax(model.predict(tf.constant(text), verbose=0)))
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    data = [form(text) for name, form in FORMS.items() if name != "bytes" or not shape]
    for x in [*data, tf.constant(text)]:
        np.testing.assert_allclose(ensemble.predict(x, batch_size=3), np.mean(outputs, axis=0), rtol=0, atol=1e-6)
        accuracy = (np.mean(outputs, axis=0).argmax(1) == LABELS).mean()
        assert ensemble.evaluate(x, LABELS).accuracy == accuracy
    greedy = SnapshotEnsemble.load(tmp_path, model, "greedy", data=(text, LABELS), n_members=1)
    assert len(greedy.members) == 1


@pytest.mark.tensorflow
def test_text_beside_numbers(tmp_path: Path) -> None:
    words = keras.layers.TextVectorization(max_tokens=9, output_sequence_length=3)
    words.adapt(TEXT)
    inputs = {"text": keras.Input((), dtype="string", name="text"), "number": keras.Input((2,), name="number")}
    joined = keras.layers.Concatenate()([keras.ops.cast(words(inputs["text"]), "float32"), inputs["number"]])
    model = keras.Model(inputs, keras.layers.Dense(1)(joined))
    model.compile("sgd", "mse")
    save_members(tmp_path, model, losses=[1])
    numbers = np.ones((4, 2), "float32")
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    expected = ensemble.predict({"text": np.array(TEXT, object), "number": numbers})
    np.testing.assert_array_equal(ensemble.predict({"text": TEXT, "number": numbers}), expected)
    assert ensemble.evaluate({"text": TEXT, "number": numbers}, expected)["loss"] == 0


def test_text_is_counted_as_samples(tmp_path: Path) -> None:
    """Where the model takes none, it is Keras that says so."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    save_members(tmp_path, model, losses=[1])
    ensemble = SnapshotEnsemble.load(tmp_path, model)
    with pytest.raises(ValueError, match=r"same number of samples, at least 1. Received: samples=\[3, 4\]"):
        ensemble.evaluate(TEXT, np.zeros((3, 1)))
