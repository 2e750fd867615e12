"""Scores of a classifier's probabilities: loss, accuracy, calibration; and which metrics are better when higher.

Anything but a classifier of one output is scored by the losses and metrics of its model: see `compiled_scores`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from keras_sgdr._checks import invalid, one_of, require
from keras_sgdr._text import aligned

__all__ = ["Array", "Measured", "Mode", "Report", "Scores", "are_whole", "higher_is_better", "probabilities", "scores"]

Array: TypeAlias = NDArray[Any]
Mode: TypeAlias = Literal["auto", "min", "max"]

BINS = 15  # Of the calibration error, as in Guo et al.


class Scores(NamedTuple):
    """Scores of a classifier on some data.

    Attributes:
        loss: Mean cross-entropy in nats.
        accuracy: Share of samples whose most probable class is right.
        calibration_error: Expected calibration error, 15 bins of equal width (Guo et al., "On Calibration of Modern
            Neural Networks", arXiv 1706.04599, equation (3)).
    """

    loss: float
    accuracy: float
    calibration_error: float


# Not a union, of which everyone would have to ask which of the two it is.
Measured: TypeAlias = Any
"""`Scores` of a classifier, and of any other model a dict of its loss and metrics by name."""


@dataclass(frozen=True)
class Report:
    """Scores of the members of an ensemble and of the ensemble; prints as a table.

    Attributes:
        cycles: Number of each member's cycle, from 1.
        members: Scores of each member: `Scores` of a classifier of one output, and of any other model a dict of the
            loss and the metrics that it was compiled with.
        ensemble: Scores of the ensemble, likewise.
        disagreement: Share of samples for which two members name different classes, shape `(members, members)`; None of
            a model that is no classifier of one output.
    """

    cycles: list[int]
    members: list[Measured]
    ensemble: Measured
    disagreement: Array | Any

    def __str__(self) -> str:
        cycles, rows = [f"cycle {cycle}" for cycle in self.cycles], [*self.members, self.ensemble]
        if self.disagreement is None:
            headings, cells = [*self.ensemble], [[_cell(value) for value in row.values()] for row in rows]
        else:
            headings = [name.replace("_", " ") for name in Scores._fields]
            cells = [[f"{score:.4f}" for score in row] for row in rows]
        table = _table(headings, [*cycles, "ensemble"], cells)
        if self.disagreement is None or len(cycles) == 1:
            return table
        shares = _table(cycles, cycles, [[f"{share:.3f}" for share in row] for row in self.disagreement])
        return f"{table}\n\nShare of samples that two members put into different classes:\n{shares}"


def _table(headings: list[str], names: list[str], cells: list[list[str]]) -> str:
    return aligned([["", *headings], *([name, *row] for name, row in zip(names, cells, strict=True))])


def _cell(value: Any) -> str:
    return " ".join(f"{number:.4g}" for number in np.ravel(value))


def higher_is_better(metric: str, mode: Mode = "auto") -> bool:
    """Whether higher values of a metric are better.

    Args:
        metric: Its name, such as `"val_accuracy"`.
        mode: `"min"`, `"max"`, or `"auto"` to go by the name.

    Raises:
        ValueError: If `metric` is no name, `mode` is none of the three, or `"auto"` and the name does not tell.
    """
    fix = 'Pass one that training logs, such as "val_loss".'
    require(isinstance(metric, str) and metric != "", "`monitor` must be the name of a metric.", "monitor", metric, fix)
    one_of("mode", mode, ("auto", "min", "max"))
    if mode != "auto":
        return mode == "max"
    name = metric.removeprefix("val_").lower()
    if any(part in name for part in ("loss", "error", "mse", "mae", "entropy")):
        return False
    if any(part in name for part in ("acc", "auc", "f1", "precision", "recall", "iou")):
        return True
    raise invalid(
        "The name of a metric must tell whether more is better, or `mode` must.",
        f'monitor={metric!r} and mode="auto"',
        'Pass mode="min" or mode="max".',
    )


def probabilities(outputs: Array, activation: Literal["softmax", "sigmoid"] | None) -> Array:
    """Probabilities from a model's outputs, as float32 or float64; softmax is over the last axis."""
    outputs = outputs.astype(np.float64 if outputs.dtype == np.float64 else np.float32)
    if activation is None:
        return outputs
    if activation == "sigmoid":
        # Without overflow on either side.
        return np.where(outputs >= 0, 1, np.exp(-np.abs(outputs))) / (1 + np.exp(-np.abs(outputs)))
    raised = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def are_whole(labels: Array) -> bool:
    """Whether labels are whole numbers."""
    return _are_numbers(labels) and bool(np.isfinite(labels).all() and (np.floor(labels) == labels).all())


def _are_numbers(labels: Array) -> bool:
    # Not by the kind: to NumPy bfloat16 is no float.
    return np.can_cast(labels.dtype, "f4", "same_kind")


def scores(outputs: Array, labels: Array) -> tuple[Scores, Array]:
    """Scores, and the predicted class of each sample.

    Args:
        outputs: Probabilities, shape `(samples, classes)`, or `(samples, 1)` of the second of two classes.
        labels: Classes, shape `(samples,)` or `(samples, 1)`, or one-hot, shape `(samples, classes)`. With shares of
            classes in place of one-hot, as of smoothed labels, the loss is by the shares, the rest by the largest.

    Raises:
        ValueError: If the shapes are others, or a label is no class.
    """
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        outputs = np.concatenate([1 - outputs, outputs], axis=1)
    is_of_shares = labels.size != len(outputs)
    classes = labels.argmax(axis=-1) if is_of_shares else labels.reshape(-1)
    if outputs.ndim != 2 or classes.shape != outputs.shape[:1]:
        raise invalid(
            "Scores are of a classifier of one output, and its labels are classes or one-hot.",
            f"outputs of shape {outputs.shape} and labels of shape {labels.shape}",
            "Use `predict` for anything else.",
        )
    if is_of_shares:
        valid = _are_numbers(labels) and (labels >= 0).all() and np.allclose(labels.sum(axis=-1), 1, atol=1e-3)
    else:
        valid = are_whole(labels)
    if not valid:
        raise invalid(
            "Labels must be whole numbers of classes, or one-hot.",
            f"labels such as {labels.reshape(len(outputs), -1)[0].tolist()}",
            "Compile the model with the loss that it was trained with: it is scored by that.",
        )
    classes = classes.astype(int)
    if classes.min() < 0 or classes.max() >= outputs.shape[1]:
        raise invalid(
            f"Labels must be classes from 0 to {outputs.shape[1] - 1}.",
            f"labels from {classes.min()} to {classes.max()}",
            "Pass those that the model was trained on.",
        )
    outputs = outputs.astype(np.float64)
    predicted, confidence = outputs.argmax(axis=1), outputs.max(axis=1)
    correct = predicted == classes
    # Rounded to float32, a probability may be 0.
    logarithms = np.log(np.maximum(outputs, np.finfo(np.float32).tiny))
    of_class = (labels * logarithms).sum(1) if is_of_shares else np.take_along_axis(logarithms, classes[:, None], 1)
    loss = float(-of_class.mean())
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, correct - confidence, BINS)
    return Scores(loss, float(correct.mean()), float(np.abs(gaps).sum() / len(classes))), predicted
