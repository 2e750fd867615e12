"""Random and central crops of image batches, the same on every backend: eager, compiled, or inside of `tf.data`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sgdr._checks import integer, invalid, is_number, require
from keras_sgdr.data.drawn import check_side

__all__ = ["DRAWS", "center_crop", "random_resized_crop_flip", "resized_crop_flip"]

TRIES = 10  # As in torchvision: boxes that are drawn for an image, of which the first that fits is taken.
DRAWS = 2 * TRIES + 3  # Uniform random numbers per image: areas, ratios, top, left, flip.


def random_resized_crop_flip(
    images: Any,
    size: int,
    seed: int | keras.random.SeedGenerator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Any:
    """Crop a random box out of each image, resize it to a square, and mirror half of the images.

    Boxes have the distribution of torchvision's `RandomResizedCrop`: uniform area, uniform logarithm of the aspect
    ratio, whole pixels, ten tries for a box that fits. (Where all ten fail, the first is cut to fit; torchvision takes
    the central box.) Resizing is bilinear and antialiased, as in Pillow.

    Args:
        images: Batch of shape `(N, height, width, channels)`, of any numeric dtype.
        size: Side of the square output, in pixels.
        seed: An integer gives the same crops at every call, a `keras.random.SeedGenerator` new ones.
        scale: Smallest and largest area of the box, as fractions of the image's.
        ratio: Smallest and largest aspect ratio (width / height) of the box.

    Returns:
        float32 tensor of shape `(N, size, size, channels)`, in the units of `images`.
    """
    _sides(images, size)
    if not isinstance(seed, keras.random.SeedGenerator):
        integer("seed", seed, "Pass a seed such as seed=0, or a `keras.random.SeedGenerator`.", least=0)
    draws = keras.random.uniform((ops.shape(images)[0], DRAWS), dtype="float32", seed=seed)
    return resized_crop_flip(images, size, draws, scale, ratio)


def resized_crop_flip(
    images: Any,
    size: int,
    draws: Any,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Any:
    """`random_resized_crop_flip` as a function of the random numbers.

    Args:
        images: Batch of shape `(N, height, width, channels)`, of any numeric dtype.
        size: Side of the square output, in pixels.
        draws: float32 of shape `(N, DRAWS)`, uniform on [0, 1).
        scale: Smallest and largest area of the box, as fractions of the image's.
        ratio: Smallest and largest aspect ratio (width / height) of the box.

    Returns:
        float32 tensor of shape `(N, size, size, channels)`, in the units of `images`.
    """
    height, width = _sides(images, size)
    for name, pair in (("scale", scale), ("ratio", ratio)):
        several = isinstance(pair, Sequence) and len(pair) == 2 and all(is_number(value) for value in pair)
        rule, fix = f"`{name}` must be two positive numbers, in ascending order.", "Leave it out for torchvision's."
        require(several and 0 < pair[0] <= pair[1], rule, name, pair, fix)
    top, left, box_height, box_width = boxes(draws, height, width, scale, ratio)
    rows = _resize_weights(top, box_height, height, size)
    columns = _resize_weights(left, box_width, width, size)
    mirrored = draws[:, -1] < 0.5
    columns = ops.where(mirrored[:, None, None], ops.flip(columns, axis=1), columns)
    images = ops.cast(images, "float32")
    return ops.einsum("btw,bswc->bstc", columns, ops.einsum("bsh,bhwc->bswc", rows, images))


def boxes(
    draws: Any, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Any, Any, Any, Any]:
    """Boxes of `RandomResizedCrop`: top, left, height and width in whole pixels, each float32 of shape `(N,)`."""
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[:, :TRIES])
    log_ratio = math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * draws[:, TRIES : 2 * TRIES]
    heights = ops.round(ops.sqrt(area / ops.exp(log_ratio)))
    widths = ops.round(ops.sqrt(area * ops.exp(log_ratio)))
    fits = ops.cast((heights <= height) & (widths <= width), "int32")
    first = ops.argmax(fits, axis=1)[:, None]
    box_height = ops.clip(ops.take_along_axis(heights, first, axis=1)[:, 0], 1, height)
    box_width = ops.clip(ops.take_along_axis(widths, first, axis=1)[:, 0], 1, width)
    top = ops.floor(draws[:, 2 * TRIES] * (height - box_height + 1))
    left = ops.floor(draws[:, 2 * TRIES + 1] * (width - box_width + 1))
    return top, left, box_height, box_width


def _resize_weights(start: Any, length: Any, side: int, size: int) -> Any:
    """Matrices `(N, size, side)` that resize the pixels [start, start + length) of one axis to `size`."""
    # A triangle as wide as an output pixel, in input pixels, and at least 1: bilinear when enlarging, antialiased when
    # reducing.
    step = length[:, None, None] / size
    centre = start[:, None, None] + (ops.arange(size, dtype="float32")[None, :, None] + 0.5) * step
    pixel = ops.arange(side, dtype="float32")[None, None, :]
    weights = ops.maximum(0.0, 1.0 - ops.abs(pixel + 0.5 - centre) / ops.maximum(step, 1.0))
    end = start + length
    inside = (pixel >= start[:, None, None]) & (pixel < end[:, None, None])
    weights = ops.where(inside, weights, 0.0)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def _sides(images: Any, size: object) -> tuple[int, int]:
    """Height and width of a batch of images, which are to become squares of this size."""
    check_side("size", size)
    shape = tuple(getattr(images, "shape", ()))
    rule, fix = "`images` must be of shape `(N, height, width, channels)`.", "Pass a batch, of one image images[None]."
    require(len(shape) == 4 and 0 not in shape[1:3], rule, "shape", shape, fix)
    height, width = shape[1:3]
    return height, width


def center_crop(images: Any, size: int) -> Any:
    """Crop the central square of each image.

    Args:
        images: Batch of shape `(N, height, width, channels)`, of any numeric dtype.
        size: Side of the square, in pixels, at most `height` and `width`.

    Returns:
        float32 tensor of shape `(N, size, size, channels)`, in the units of `images`.

    Raises:
        ValueError: If the images are smaller than `size`.
    """
    height, width = _sides(images, size)
    if size > min(height, width):
        rule = "`size` must be at most the images' height and width."
        fix = f"Load larger images, such as with image_size={size * 8 // 7}."
        raise invalid(rule, f"size={size}, images of {height} x {width} pixels", fix)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return ops.cast(images[:, top : top + size, left : left + size], "float32")
