"""How good and how honest probabilities are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Report", "Scores", "probabilities", "scores"]

Array = NDArray[Any]

BINS = 15  # of the calibration error, as in Guo et al.


class Scores(NamedTuple):
    """Of a classifier on some data.

    Attributes:
        loss: Mean cross-entropy in nats.
        accuracy: Share of samples whose most probable class is right.
        calibration_error: Expected calibration error, 15 bins of equal width (Guo et al., "On Calibration of Modern
            Neural Networks", arXiv 1706.04599, equation (3)).
    """

    loss: float
    accuracy: float
    calibration_error: float


@dataclass(frozen=True)
class Report:
    """Members and ensemble side by side; prints as a table.

    Attributes:
        cycles: Number of each member's cycle, from 1.
        members: Each member's scores.
        ensemble: The ensemble's.
        disagreement: Share of samples for which two members name different classes, shape `(members, members)`.
    """

    cycles: list[int]
    members: list[Scores]
    ensemble: Scores
    disagreement: Array

    def __str__(self) -> str:
        rows = [*((f"cycle {cycle}", one) for cycle, one in zip(self.cycles, self.members, strict=True))]
        lines = [f"{'':<10}{'loss':>9}{'accuracy':>10}{'calibration error':>19}  disagrees with"]
        for place, (name, one) in enumerate([*rows, ("ensemble", self.ensemble)]):
            others = " ".join(f"{share:.3f}" for share in self.disagreement[place]) if place < len(rows) else ""
            lines.append(
                f"{name:<10}{one.loss:>9.4f}{one.accuracy:>10.4f}{one.calibration_error:>19.4f}  {others}".rstrip()
            )
        return "\n".join(lines)


def probabilities(outputs: Array, activation: Literal["softmax", "sigmoid"] | None) -> Array:
    """A model's outputs through what makes them probabilities, softmax over the last axis; as float32 or float64."""
    outputs = outputs.astype(np.float64 if outputs.dtype == np.float64 else np.float32)
    if activation is None:
        return outputs
    if activation == "sigmoid":
        # Without overflow on either side.
        return np.where(outputs >= 0, 1, np.exp(-np.abs(outputs))) / (1 + np.exp(-np.abs(outputs)))
    raised = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def scores(outputs: Array, labels: Array) -> tuple[Scores, Array]:
    """Scores, and the predicted class of each sample.

    Args:
        outputs: Probabilities, shape `(samples, classes)`, or `(samples, 1)` of the second of two classes.
        labels: Classes, shape `(samples,)` or `(samples, 1)`, or one-hot, shape `(samples, classes)`.

    Raises:
        ValueError: If the shapes are others, or a label is no class.
    """
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        outputs = np.concatenate([1 - outputs, outputs], axis=1)
    classes = labels.reshape(-1) if labels.size == len(outputs) else labels.argmax(axis=-1)
    if outputs.ndim != 2 or classes.shape != outputs.shape[:1]:
        raise ValueError(
            "Scores are of a classifier of one output, and its labels are classes or one-hot. Received: outputs of "
            f"shape {outputs.shape} and labels of shape {labels.shape}. Use `predict` for anything else."
        )
    classes = classes.astype(int)
    if classes.min() < 0 or classes.max() >= outputs.shape[1]:
        raise ValueError(
            f"Labels must be classes from 0 to {outputs.shape[1] - 1}. Received: labels from {classes.min()} to "
            f"{classes.max()}. Pass those that the model was trained on."
        )
    outputs = outputs.astype(np.float64)
    of_truth = np.take_along_axis(outputs, classes[:, None], axis=1)[:, 0]
    predicted, confidence = outputs.argmax(axis=1), outputs.max(axis=1)
    right = predicted == classes
    # Rounded to float32, a probability may be 0.
    loss = float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).mean())
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(place, right - confidence, BINS)
    return Scores(loss, float(right.mean()), float(np.abs(gaps).sum() / len(classes))), predicted
