"""Scores of outputs that are at hand, by the losses and metrics that a model was compiled with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from keras_sgdr.snapshots.data_sets import Targets

__all__ = ["CompiledScores"]


class CompiledScores:
    """Evaluates outputs as `model.evaluate` would if the model gave them; the model and its metrics are not touched.

    What the weights add to the model's loss, such as a penalty on them, is not part of it: a mean of outputs has none.

    Args:
        model: A compiled model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, outputs: Any, targets: Targets, batch_size: int) -> dict[str, Any]:
        """Loss and metrics by name, as of `model.evaluate(..., return_dict=True)`."""
        return _without_strategy(lambda: self._evaluate(outputs, targets, batch_size))

    def _evaluate(self, outputs: Any, targets: Targets, batch_size: int) -> dict[str, Any]:
        scores = self._judge.evaluate(
            keras.tree.map_structure(lambda array: np.asarray(array, "float32"), outputs),
            targets.labels,
            sample_weight=targets.weights,
            batch_size=batch_size,
            verbose=0,
            return_dict=True,
        )
        return {name: _number(value) for name, value in scores.items()}

    @functools.cached_property
    def _judge(self) -> Any:
        model = self._model
        judge = _Given(name="outputs", dtype="float32")
        if hasattr(model, "output_names"):
            judge.output_names = list(model.output_names)
        compiled = model._compile_config.config  # Public only as what can be saved, which a user's function cannot.
        judge.compile(
            loss=model.loss,
            loss_weights=compiled.get("loss_weights"),
            metrics=_anew(compiled.get("metrics")),
            weighted_metrics=_anew(compiled.get("weighted_metrics")),
            run_eagerly=True,  # A compilation takes longer than what it would save.
        )
        return judge


class _Given(keras.Model):
    """A model that gives what it is given."""

    def call(self, outputs: Any) -> Any:
        return outputs


def _anew(metrics: Any) -> Any:
    """The same metrics without what they have counted."""

    def copy(metric: Any) -> Any:
        is_object = isinstance(metric, keras.metrics.Metric)
        return type(metric).from_config(metric.get_config()) if is_object else metric

    return None if metrics is None else keras.tree.map_structure(copy, metrics)


def _number(value: Any) -> Any:
    array = np.asarray(keras.ops.convert_to_numpy(value))
    return float(array) if array.ndim == 0 else array


def _without_strategy(evaluate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Evaluate outside the scope of a distribution strategy, where there is one.

    Under it, Keras evaluates no batch that the replicas cannot share evenly.
    """
    if keras.config.backend() != "tensorflow":
        return evaluate()
    import tensorflow as tf

    if not tf.distribute.has_strategy():
        return evaluate()
    with ThreadPoolExecutor(1) as thread:  # Scopes are those of a thread.
        return thread.submit(evaluate).result()
