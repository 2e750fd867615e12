"""Drawn images of ants and bees, for tests and for machines that can neither find nor download the real ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_sgdr._checks import integer

__all__ = ["check_side", "drawn_insects"]

MOST_SIDE = 65_535  # Pixels, as in a JPEG.
MOST_DRAWN = 1_000_000  # Images, which are kept in memory.

Array = np.ndarray[Any, Any]
Split = tuple[Array, Array]


def check_side(name: str, value: object) -> None:
    """Require the side of an image, in pixels."""
    integer(name, value, f"Pass the side of the square images in pixels, such as {name}=224.", most=MOST_SIDE)


def drawn_insects(n_train: int = 244, n_val: int = 153, image_size: int = 64, seed: int = 0) -> tuple[Split, Split]:
    """Draw ants (three dark segments, a thin waist, legs) and bees (a striped body, wings).

    Place, size, direction, colours, light, background and noise are random, and both classes are drawn among the same
    coloured blots, so that no single colour tells the class.

    Args:
        n_train: Number of images for training.
        n_val: Number of images for validation.
        image_size: Side of the square images, in pixels.
        seed: Seed of all random numbers; the same seed draws the same images.

    Returns:
        `(x_train, y_train), (x_val, y_val)`, as from `ants_bees.load_data`: uint8 RGB images of shape
        `(N, image_size, image_size, 3)`; int64 labels, 0 for ants and 1 for bees, half of each, in sorted order.

    Raises:
        ValueError: If a number is out of range.
    """
    for name, count in (("n_train", n_train), ("n_val", n_val)):
        integer(name, count, "Pass the number of images to draw.", least=0, most=MOST_DRAWN)
    check_side("image_size", image_size)
    integer("seed", seed, "Pass a seed such as seed=0.", least=0)
    generator = np.random.default_rng(seed)
    train, val = (_split(count, image_size, generator) for count in (n_train, n_val))
    return train, val


def _split(count: int, size: int, generator: np.random.Generator) -> Split:
    labels = (np.arange(count) >= count // 2).astype("int64")
    images = np.empty((count, size, size, 3), "uint8")
    for index, label in enumerate(labels):
        drawing = _Drawing(size, generator)
        drawing.bee() if label else drawing.ant()
        images[index] = drawing.image()
    return images, labels


class _Drawing:
    """An image in the making. Lengths are in units of the insect, whose body lies along u, head at 1, tail at -1."""

    def __init__(self, size: int, generator: np.random.Generator) -> None:
        self.random = generator
        y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
        slope = generator.normal(0, 50, (2, 3))
        self.canvas = generator.uniform(60, 220, 3) + x[..., None] * slope[0] + y[..., None] * slope[1]
        # The background is drawn in units of the image ...
        self.u, self.v, self.edge = x, y, 1 / size
        for _ in range(generator.integers(4, 9)):
            (u, v), (a, b) = generator.uniform(-0.5, 0.5, 2), generator.uniform(0.03, 0.2, 2)
            self.ellipse(u, v, a, b, self.blot_colour())
        # ... and what follows in units of the insect.
        half = generator.uniform(0.26, 0.42)
        angle = generator.uniform(0, 2 * np.pi)
        x, y = (axis - generator.uniform(half - 0.5, 0.5 - half) * 0.8 for axis in (x, y))
        self.u = (np.cos(angle) * x + np.sin(angle) * y) / half
        self.v = (np.cos(angle) * y - np.sin(angle) * x) / half
        self.edge = 1 / (size * half)

    def ant(self) -> None:
        colour = self.random.choice([(25, 20, 18), (70, 30, 15), (120, 50, 20)]) * self.random.uniform(0.6, 1.4)
        self.legs(0.05, 0.05, 0.75, colour * 0.8)
        self.ellipse(-0.58, 0, 0.42, 0.26, colour)
        self.ellipse(0.05, 0, 0.26, 0.13, colour * 1.2)
        self.ellipse(0.55, 0, 0.23, 0.19, colour)

    def bee(self) -> None:
        dark = self.random.uniform(10, 60, 3)
        yellow = np.array([self.random.uniform(150, 240), self.random.uniform(100, 180), 30])
        self.legs(0.1, 0.04, 0.55, dark)
        waves = np.sin(self.u * self.random.uniform(9, 14) + self.random.uniform(0, 2 * np.pi))
        stripes = np.where((waves > 0)[..., None], yellow, dark)
        self.ellipse(-0.35, 0, 0.62, 0.36, stripes)
        self.ellipse(0.3, 0, 0.33, 0.32, yellow * 0.55)
        self.ellipse(0.7, 0, 0.22, 0.24, dark)
        for side in (-1, 1):
            self.ellipse(-0.05, side * 0.5, 0.5, 0.17, np.array([215, 220, 225]), tilt=side * -0.5, opacity=0.6)

    def legs(self, middle: float, width: float, reach: float, colour: Array) -> None:
        for side in (-1, 1):
            for direction in (-0.5, 0.0, 0.5):
                tip = middle + direction * self.random.uniform(0.8, 1.6)
                self.line(
                    middle + direction * 0.3,
                    0,
                    tip,
                    side * reach * self.random.uniform(0.8, 1.1),
                    width,
                    colour,
                )
            self.line(0.65, side * 0.08, 1.0, side * self.random.uniform(0.25, 0.45), width, colour)

    def blot_colour(self) -> Array:
        insect_like = np.array([(30, 25, 20), (200, 150, 30), (225, 225, 225)])
        colour = self.random.choice(insect_like) if self.random.random() < 0.5 else self.random.uniform(20, 230, 3)
        return colour + self.random.normal(0, 20, 3)

    def ellipse(
        self, u: float, v: float, a: float, b: float, colour: Array, tilt: float = 0.0, opacity: float = 1.0
    ) -> None:
        along = np.cos(tilt) * (self.u - u) + np.sin(tilt) * (self.v - v)
        across = np.cos(tilt) * (self.v - v) - np.sin(tilt) * (self.u - u)
        self.paint((1 - np.hypot(along / a, across / b)) * min(a, b), colour, opacity)

    def line(self, u0: float, v0: float, u1: float, v1: float, width: float, colour: Array) -> None:
        du, dv = u1 - u0, v1 - v0
        at = np.clip(((self.u - u0) * du + (self.v - v0) * dv) / (du**2 + dv**2), 0, 1)
        distance = np.hypot(self.u - u0 - at * du, self.v - v0 - at * dv)
        self.paint(width / 2 - distance, colour, 1.0)

    def paint(self, depth: Array, colour: Array, opacity: float) -> None:
        """Blend a colour in where `depth`, the distance from the shape's edge inwards, is positive."""
        cover = opacity * np.clip(depth / self.edge + 0.5, 0, 1)[..., None]
        self.canvas += cover * (colour - self.canvas)

    def image(self) -> Array:
        """The image as uint8, with random brightness and noise."""
        light = self.random.uniform(0.7, 1.2)
        noise = self.random.normal(0, self.random.uniform(2, 14), self.canvas.shape)
        return np.clip(self.canvas * light + noise, 0, 255).round().astype("uint8")
