"""On TensorFlow a step is traced once, and its metrics are those that Keras makes in the step itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, metrics

from keras_sgdr import SGDR, find_learning_rate
from keras_sgdr._executions import build_metrics

pytestmark = pytest.mark.tensorflow

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
CLASSES = np.arange(8) % 3


class Traced(layers.Dense):
    """Counts how often it is called: once a trace."""

    traces = 0

    def call(self, inputs: Any) -> Any:
        Traced.traces += 1
        return super().call(inputs)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = Traced(3)

    def call(self, x: Any) -> Any:
        return self.dense(x)


def several(names: bool) -> Any:
    x = keras.Input((4,))
    one, two = Traced(3, name="one")(x), layers.Dense(1, name="two")(x)
    return keras.Model(x, {"two": two, "one": one} if names else [one, two])


def functional() -> Any:
    x = keras.Input((4,))
    return keras.Model(x, Traced(3)(x))


SPARSE = "sparse_categorical_crossentropy"
# A model, its labels, and how it is compiled.
CASES: dict[str, tuple[Callable[[], Any], Any, dict[str, Any]]] = {
    "functional": (functional, CLASSES, {"loss": SPARSE, "metrics": ["accuracy"]}),
    "labels in a column": (functional, CLASSES[:, None], {"loss": SPARSE, "metrics": ["accuracy"]}),
    "one-hot": (functional, np.eye(3)[CLASSES], {"loss": "categorical_crossentropy", "metrics": ["acc", "mse"]}),
    "sequential": (
        lambda: keras.Sequential([keras.Input((4,)), Traced(1, activation="sigmoid")]),
        CLASSES > 0,
        {"loss": "bce", "metrics": ["accuracy", metrics.AUC(name="auc")], "weighted_metrics": ["accuracy"]},
    ),
    "in executions of two": (
        functional,
        CLASSES,
        {"loss": SPARSE, "metrics": ["accuracy"], "steps_per_execution": 2},
    ),
    "outputs in a list": (
        lambda: several(names=False),
        [CLASSES, X[:, :1]],
        {"loss": [SPARSE, "mse"], "metrics": [["accuracy"], ["mae", "mse"]]},
    ),
    "outputs by names": (
        lambda: several(names=True),
        {"one": CLASSES, "two": X[:, :1]},
        {"loss": {"one": SPARSE, "two": "mse"}, "metrics": {"one": "accuracy", "two": ["mae"]}},
    ),
}


def trained(make: Callable[[], Any], y: Any, compiling: dict[str, Any], *callbacks: Any) -> tuple[dict[str, Any], int]:
    """The history of an evaluated epoch without training to speak of, and how often the model was traced for it."""
    keras.utils.set_random_seed(0)
    model = make()
    model.compile(keras.optimizers.SGD(1e-12), jit_compile=False, **compiling)
    Traced.traces = 0
    fitting: dict[str, Any] = {"batch_size": 2, "verbose": 0, "shuffle": False}
    history = model.fit(X, y, callbacks=[*callbacks], validation_data=(X, y), **fitting).history
    history.pop("learning_rate", None)
    return history, Traced.traces


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_those_of_keras_at_half_the_traces(case: str) -> None:
    theirs, twice = trained(*CASES[case])
    ours, once = trained(*CASES[case], SGDR(1, eta_max=1e-12))
    assert (once, twice) == (2, 3)  # One of them is the evaluation's.
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-6, err_msg=name)


class OwnMetrics(keras.Sequential):
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "mean": keras.ops.mean(y_pred)}


@pytest.mark.parametrize("make", [Subclassed, lambda: OwnMetrics([keras.Input((4,)), Traced(3)])])
def test_models_that_are_not_foreseen_are_left_to_keras(make: Callable[[], Any]) -> None:
    compiling = {"loss": SPARSE, "metrics": ["accuracy"]}
    ours, our_traces = trained(make, CLASSES, compiling, SGDR(1, eta_max=1e-12))
    theirs, their_traces = trained(make, CLASSES, compiling)
    assert list(ours) == list(theirs)
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-6)
    assert our_traces == their_traces


def test_what_keras_refuses_it_refuses_in_its_own_words() -> None:
    compiling = {"loss": [SPARSE, "mse"], "metrics": {"three": "accuracy"}}
    labels = [CLASSES, X[:, :1]]
    with pytest.raises(ValueError, match="metrics") as theirs:
        trained(lambda: several(names=False), labels, compiling)
    with pytest.raises(ValueError, match="metrics") as ours:
        trained(lambda: several(names=False), labels, compiling, SGDR(1, eta_max=1e-12))
    assert str(ours.value)[:60] == str(theirs.value)[:60]


def test_labels_without_a_shape_are_left_to_keras() -> None:
    model = functional()
    model.compile("sgd", SPARSE, metrics=["accuracy"])
    build_metrics(model, "no labels")
    assert not model._compile_metrics.built


def test_a_range_test_traces_once() -> None:
    model = functional()
    model.compile("sgd", SPARSE, metrics=["accuracy"], jit_compile=False)
    Traced.traces = 0
    find_learning_rate(model, (X, CLASSES), updates=20, batch_size=4)
    assert Traced.traces == 1
