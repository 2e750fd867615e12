"""The batches of a run: one uint8 array and one seeded list of order, crops and flips for both frameworks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity_tests.training.controls import CONTROLS
from parity_tests.training.run import Run

__all__ = ["IMAGE_SIZE", "SOURCE_SIZE", "Batch", "Feed"]

IMAGE_SIZE = 64  # pixels of a side, as they reach the network
SOURCE_SIZE = 73  # before the crop, at about the usual ratio of 256 to 224

Batch = tuple[NDArray[Any], NDArray[np.int64]]


class Feed:
    """Normalised images (N, 64, 64, 3) in the precision of the run, and labels (N,).

    Attributes:
        steps: Updates in an epoch.
        validation_steps: Batches in a validation.
    """

    def __init__(self, run: Run) -> None:
        with np.load(run.inputs) as arrays:
            self._train = arrays["train_images"], arrays["train_labels"]
            images, labels = arrays["val_images"], arrays["val_labels"]
        # Evenly spaced, since the classes lie one after the other.
        chosen = np.linspace(0, len(labels) - 1, run.validation).round().astype(int)
        edge = (SOURCE_SIZE - IMAGE_SIZE) // 2
        cropped = images[chosen, edge : edge + IMAGE_SIZE, edge : edge + IMAGE_SIZE]
        self._run, self._control = run, CONTROLS[run.control]
        self._validation = self._pixels(cropped), labels[chosen]
        self.validation_steps = -(-run.validation // run.batch_size)
        self.steps = run.steps or -(-len(self._train[1]) // run.batch_size)

    def training(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, in their order."""
        return (self.batch(epoch, step) for step in range(self.steps))

    def batch(self, epoch: int, step: int) -> Batch:
        """One training batch: the last of a whole epoch may be smaller."""
        images, labels = self._train
        random = np.random.default_rng((self._run.seed, epoch))
        order = random.permutation(len(labels))
        top, left = random.integers(0, SOURCE_SIZE - IMAGE_SIZE + 1, (2, len(labels)))
        flipped = random.random(len(labels)) < 0.5
        size = self._run.batch_size
        members = self._control.order(order, epoch, size)[step * size : (step + 1) * size]
        cropped = np.stack([images[i, top[i] : top[i] + IMAGE_SIZE, left[i] : left[i] + IMAGE_SIZE] for i in members])
        mirrored = np.where(flipped[members, None, None, None], cropped[:, :, ::-1], cropped)
        return self._pixels(mirrored), labels[members]

    def validation(self) -> Iterator[Batch]:
        """The validation batches: central crops, always the same."""
        images, labels = self._validation
        for start in range(0, len(labels), self._run.batch_size):
            yield images[start : start + self._run.batch_size], labels[start : start + self._run.batch_size]

    def _pixels(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        return self._control.pixels(images).astype(self._run.precision)
