"""Crops on this process's backend. On JAX most are compiled: one at a time, its operations take longer to compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

from keras_sgdr.data import center_crop, drawn_insects, random_resized_crop_flip
from keras_sgdr.data.augment import DRAWS, TRIES, boxes, resized_crop_flip

Array = np.ndarray[Any, Any]
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


@pytest.fixture(scope="module")
def images() -> Array:
    return drawn_insects(4, 0, image_size=40)[0][0]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def draw(count: int) -> Array:
    return np.random.default_rng(0).random((count, DRAWS), "float32")


def drawn_boxes(draws: Array, height: int, width: int) -> tuple[Array, ...]:
    drawn = compiled(partial(boxes, height=height, width=width, scale=SCALE, ratio=RATIO))(ops.array(draws))
    return tuple(ops.convert_to_numpy(side) for side in drawn)


def torchvision_box(draws: Array, height: int, width: int) -> tuple[float, float, float, float]:
    """The procedure of torchvision's RandomResizedCrop, one image at a time."""
    area = height * width
    for attempt in range(TRIES):
        target = area * np.float32(SCALE[0] + (SCALE[1] - SCALE[0]) * draws[attempt])
        ratio = np.exp(np.float32(np.log(RATIO[0]) + np.log(RATIO[1] / RATIO[0]) * draws[TRIES + attempt]))
        h, w = round(float(np.sqrt(target / ratio))), round(float(np.sqrt(target * ratio)))
        if h <= height and w <= width:
            return int(draws[-3] * (height - h + 1)), int(draws[-2] * (width - w + 1)), h, w
    raise AssertionError("no box fits")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 80)])
def test_boxes_follow_torchvision(height: int, width: int) -> None:
    draws = draw(2000)
    ours = np.stack(drawn_boxes(draws, height, width), axis=1)
    theirs = np.array([torchvision_box(row, height, width) for row in draws])
    # A side within float32's rounding of a half pixel may be rounded the other way: one in some thousands.
    assert (ours == theirs).all(axis=1).mean() > 0.998


def test_boxes_have_the_asked_areas_and_ratios_and_lie_inside() -> None:
    top, left, height, width = drawn_boxes(draw(20000), 200, 200)
    assert min(top.min(), left.min()) >= 0
    assert max((top + height).max(), (left + width).max()) <= 200
    area, ratio = height * width / 200**2, width / height
    # Whole pixels: a side of 49 or more is off by half a pixel, an area or ratio by about 2 % at most.
    assert 0.08 * 0.98 <= area.min() <= 0.09
    assert 0.99 <= area.max() <= 1
    assert 0.75 * 0.98 <= ratio.min() <= 0.76
    assert 1.32 <= ratio.max() <= 4 / 3 * 1.02
    # The ratio is symmetric about 1, the place about the centre: 5 standard errors of 20000 draws.
    assert abs(np.log(ratio).mean()) < 5 * np.log(ratio).std() / np.sqrt(20000)
    offset = top - (200 - height) / 2
    assert abs(offset.mean()) < 5 * offset.std() / np.sqrt(20000)


def test_box_is_cut_to_fit_where_no_try_fits() -> None:
    draws = np.full((1, DRAWS), 0.999, "float32")  # Area 1, ratio 4 / 3: wider than the image, ten times.
    top, left, height, width = (side.item() for side in drawn_boxes(draws, 60, 60))
    assert (top, left, height, width) == (8, 0, 52, 60)


@pytest.mark.parametrize("size", [20, 90])  # Antialiased where a box is larger than that.
def test_pixels_are_those_of_pillow(images: Array, size: int) -> None:
    draws = draw(len(images))
    ours = ops.convert_to_numpy(compiled(partial(resized_crop_flip, images, size))(ops.array(draws)))
    for image, result, *box, uniform in zip(images, ours, *drawn_boxes(draws, 40, 40), draws[:, -1], strict=True):
        top, left, height, width = (int(side) for side in box)
        crop = image[top : top + height, left : left + width].astype("float32")
        for channel in range(3):
            theirs = Image.fromarray(crop[..., channel]).resize((size, size), Image.Resampling.BILINEAR)
            expected = np.asarray(theirs)[:, :: -1 if uniform < 0.5 else 1]
            # Grey levels up to 255 in float32: 3e-5 at best, and a few roundings.
            np.testing.assert_allclose(result[..., channel], expected, rtol=0, atol=1e-3)


def test_half_of_the_images_are_mirrored() -> None:
    ramp = np.broadcast_to(np.arange(16, dtype="uint8")[None, None, :, None], (4000, 4, 16, 1))
    crops = ops.convert_to_numpy(compiled(partial(random_resized_crop_flip, size=4, seed=0))(ramp))
    falling = (np.diff(crops[:, 0, :, 0], axis=1) < 0).all(axis=1)
    rising = (np.diff(crops[:, 0, :, 0], axis=1) > 0).all(axis=1)
    assert (falling | rising).all()
    # 5 standard errors of 4000 coin tosses.
    assert abs(falling.mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)


def test_seeds(images: Array) -> None:
    def crops(seed: Any) -> Array:
        return ops.convert_to_numpy(random_resized_crop_flip(images, 32, seed))

    np.testing.assert_array_equal(crops(7), crops(7))
    assert not np.array_equal(crops(7), crops(8))
    generator = keras.random.SeedGenerator(7)
    first, second = crops(generator), crops(generator)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(crops(keras.random.SeedGenerator(7)), first)
    assert first.dtype == np.float32
    assert first.shape == (4, 32, 32, 3)
    # A mean of bytes; its weights add to 1 up to float32's rounding.
    assert 0 <= first.min() <= first.max() <= 255 * (1 + 1e-6)


def test_compiled_gives_the_same(images: Array) -> None:
    draws = draw(len(images))

    def crop(batch: Any, uniform: Any) -> Any:
        return resized_crop_flip(batch, 32, uniform)

    compiled_crop = compiled(crop)  # With PyTorch, Keras compiles nothing by default.
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec((None, 40, 40, 3), tf.uint8), tf.TensorSpec((None, DRAWS), tf.float32)]
        compiled_crop = tf.function(crop, signature, jit_compile=True)
    ours = ops.convert_to_numpy(compiled_crop(ops.array(images), ops.array(draws)))
    # A compiler may reorder sums of float32: grey levels up to 255, as above.
    np.testing.assert_allclose(ours, ops.convert_to_numpy(crop(images, ops.array(draws))), rtol=0, atol=1e-3)


@pytest.mark.tensorflow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data is TensorFlow's")
def test_inside_of_tf_data(images: Array) -> None:
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(images).batch(3)
    data = data.map(lambda batch: random_resized_crop_flip(batch, 32, seed=7))
    first, last = [batch.numpy() for batch in data]
    np.testing.assert_allclose(
        first, ops.convert_to_numpy(random_resized_crop_flip(images[:3], 32, 7)), rtol=0, atol=1e-3
    )
    assert last.shape == (1, 32, 32, 3)


def test_center_crop(images: Array) -> None:
    cropped = ops.convert_to_numpy(center_crop(images, 31))
    assert cropped.dtype == np.float32
    np.testing.assert_array_equal(cropped, images[:, 4:35, 4:35].astype("float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(center_crop(images, 40)), images)
    with pytest.raises(ValueError, match=r"`size` must be at most .* Received: size=56, images of 40 x 40 .*=64"):
        center_crop(images, 56)
