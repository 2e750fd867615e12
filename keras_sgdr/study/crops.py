"""How a study turns its samples into the model's inputs, unless it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from keras_sgdr._checks import invalid
from keras_sgdr.data.augment import center_crop, resized_crop_flip
from keras_sgdr.data.samples import Array

__all__ = ["crops"]

Augment: TypeAlias = Callable[[Any, Any], Any]


def crops(shape: tuple[int | None, ...], samples: Array) -> tuple[Augment, Callable[[Any], Any]]:
    """The default `augment` and `prepare` of a study.

    Images (batches with four axes) are cropped at random, resized to the side of the model's input and mirrored in
    training, and cropped to their centre in validation. Other samples stay as they are.

    Args:
        shape: Of the model's input, the batch first.
        samples: The training samples.

    Raises:
        ValueError: If the samples are images and the model's input is not square, or of no fixed size.
    """
    if samples.ndim != 4:
        return (lambda batch, draws: batch), (lambda batch: batch)
    side = shape[1]
    if side is None or shape[2] != side:
        rule = "Crops have the side of the model's input, so it must be square and fixed."
        fix = "Build it with a size, or pass `augment` and `prepare`."
        raise invalid(rule, f"a model with input_shape={shape}", fix)
    return (lambda batch, draws: resized_crop_flip(batch, side, draws)), (lambda batch: center_crop(batch, side))
