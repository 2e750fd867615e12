"""Folders of snapshots without training: a small classifier, and members of random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from keras_sgdr.snapshots import SUFFIX, Manifest, Snapshot, architecture, weights_alone

Array = NDArray[Any]
SAMPLES, FEATURES, CLASSES = 50, 5, 3
X = np.random.default_rng(0).normal(size=(SAMPLES, FEATURES)).astype("float32")
Y = (X[:, 0] > 0.3).astype(int) + (X[:, 1] > 0)
LOSSES = (0.4, 0.2, 0.3, 0.1)


def classifier() -> Any:
    """A model of logits, with BatchNorm, so that its weights include statistics."""
    layers = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Activation("relu")]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers, keras.layers.Dense(CLASSES)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    return model


def save_members(folder: Path, model: Any, losses: Sequence[float] = LOSSES, **fields: Any) -> Manifest:
    """Save random weights of a model, one snapshot for each `val_loss`; other fields are those of the manifest."""
    manifest = Manifest(folder, **fields)
    for cycle, loss in enumerate(losses, start=1):
        random = np.random.default_rng(cycle)
        for variable in model.weights:
            values = random.normal(size=variable.shape)
            variable.assign(np.exp(values) if variable.name == "moving_variance" else values)
        file = f"cycle-{cycle:03d}_epoch-{cycle:04d}{SUFFIX}"
        metrics = {"loss": 1.0, "val_loss": loss}
        snapshot = Snapshot(cycle, cycle, 3 * cycle, 0.0, metrics, file, "", keras.__version__, architecture(model))
        with weights_alone(model):
            manifest.add(snapshot, model.save_weights)
    return manifest


def load_member(manifest: Manifest, number: int, model: Any) -> None:
    """Load the weights of a snapshot, counted from 0, by Keras's own `load_weights`."""
    with weights_alone(model):
        model.load_weights(manifest.path(manifest.snapshots[number]))


def outputs_of_members(manifest: Manifest, model: Any, x: Any = X) -> list[Array]:
    """Each member's outputs, by Keras's own `predict`; the model keeps the weights of the last."""
    outputs = []
    for number in range(len(manifest.snapshots)):
        load_member(manifest, number, model)
        outputs.append(model.predict(x, verbose=0))
    return outputs


def softmax(logits: Array) -> Array:
    raised = np.exp(logits.astype("float64"))
    return raised / raised.sum(-1, keepdims=True)


def sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits.astype("float64")))


@pytest.fixture(scope="module")
def compiled() -> Any:
    """A `classifier` for all tests of a module."""
    return classifier()


@pytest.fixture(scope="module")
def folder(compiled: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its members."""
    path = tmp_path_factory.mktemp("snapshots")
    save_members(path, compiled)
    return path
