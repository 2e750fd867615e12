"""Snapshots are loaded where Keras loads them, and refused with the reason where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SnapshotEnsemble
from keras_sgdr.snapshots import SnapshotError
from tests.support.members import X, save_members

# float32: a kernel and its low-rank part multiplied apart, or added first.
CLOSE: Any = {"rtol": 1e-5, "atol": 1e-5}


def plain() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((X.shape[1],)), keras.layers.Dense(4), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    return model


def low_rank() -> Any:
    model = plain()
    model.layers[0].enable_lora(2)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(("saved", "loaded"), [(low_rank, plain), (plain, low_rank), (low_rank, low_rank)])
def test_low_rank_adapters_are_part_of_the_kernels_in_a_file(tmp_path: Path, saved: Any, loaded: Any) -> None:
    model = saved()
    save_members(tmp_path, model, losses=[1])
    expected = model.predict(X, verbose=0)
    for use in (SnapshotEnsemble.load(tmp_path, loaded()), SnapshotEnsemble.load(tmp_path, model)):
        np.testing.assert_allclose(use.predict(X), expected, **CLOSE)
    averaged = SnapshotEnsemble.load(tmp_path, loaded()).average_weights()
    np.testing.assert_allclose(averaged.predict(X, verbose=0), expected, **CLOSE)


@pytest.mark.parametrize("layer", ["Embedding", "EinsumDense"])
def test_low_rank_adapters_of_other_layers(tmp_path: Path, layer: str) -> None:
    def model(*, adapted: bool) -> Any:
        if layer == "Embedding":
            layers = [keras.Input((5,), dtype="int32"), keras.layers.Embedding(3, 4), keras.layers.Flatten()]
        else:
            layers = [keras.Input((5,)), keras.layers.EinsumDense("ab,bc->ac", 4), keras.layers.Flatten()]
        made = keras.Sequential([*layers, keras.layers.Dense(2)])
        if adapted:
            made.layers[0].enable_lora(2)
        made.compile("sgd", "mse")
        return made

    x = X if layer == "EinsumDense" else (np.abs(X) > 0.5).astype("int32")
    adapted = model(adapted=True)
    save_members(tmp_path, adapted, losses=[1])
    predicted = SnapshotEnsemble.load(tmp_path, model(adapted=False)).predict(x)
    np.testing.assert_allclose(predicted, adapted.predict(x, verbose=0), **CLOSE)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = keras.layers.Dense(4, name="first"), keras.layers.Dense(3, name="last")

    def call(self, x: Any) -> Any:
        return self.last(self.first(x))


def test_a_model_that_is_not_built_is_named_as_such(tmp_path: Path) -> None:
    trained = Subclassed()
    trained.compile("sgd", "mse")
    trained(X)
    save_members(tmp_path, trained, losses=[1])
    fresh = Subclassed()
    fresh.compile("sgd", "mse")
    ensemble = SnapshotEnsemble.load(tmp_path, fresh)
    for use in (ensemble.predict, ensemble.average_weights):
        with pytest.raises(
            ValueError, match=r"must be built before .* Received: .*first, last are not built. Call it once on a batch"
        ):
            use(X)
    fresh(X)
    np.testing.assert_allclose(ensemble.predict(X), trained.predict(X, verbose=0), **CLOSE)


def test_other_shapes_are_still_named_as_such(tmp_path: Path) -> None:
    save_members(tmp_path, low_rank(), losses=[1])
    other = keras.Sequential([keras.Input((X.shape[1],)), keras.layers.Dense(5), keras.layers.Dense(3)])
    other.compile("sgd", "mse")
    with pytest.raises(SnapshotError, match=r"architecture that was trained. Received: .* have other shapes"):
        SnapshotEnsemble.load(tmp_path, other).predict(X)
