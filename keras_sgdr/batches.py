"""Data read several times, in batches, in one order."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_sgdr.arguments import is_integer, require

__all__ = ["Batches", "as_array"]

Array = NDArray[Any]


class Batches:
    """Batches of `(inputs, labels)` as NumPy arrays, the same ones at every pass.

    Args:
        x: Arrays of samples (one, or a list or dict of several inputs), or a data set of batches: a
            `keras.utils.PyDataset`, a `tf.data.Dataset`, a list of tuples, or what else can be iterated again.
        y: Labels, with arrays only.
        batch_size: Samples in a batch of arrays.
        labelled: Whether there must be labels.

    Raises:
        ValueError: If an argument is out of range; while iterating, if the data has no labels where it must, or a later
            pass brings other inputs.
    """

    def __init__(self, x: Any, y: Any, batch_size: int, *, labelled: bool = False) -> None:
        require(
            is_integer(batch_size),
            "`batch_size` must be a positive integer.",
            "batch_size",
            batch_size,
            "Pass the samples in a batch.",
        )
        self._x, self._y, self._size, self._labelled = x, y, int(batch_size), labelled
        leaves = keras.tree.flatten(x)
        listed = isinstance(x, list) and all(isinstance(one, tuple) for one in x)
        self._arrays = not listed and all(
            hasattr(leaf, "shape") and not hasattr(leaf, "element_spec") for leaf in leaves
        )
        if self._arrays:
            lengths = {len(leaf) for leaf in [*leaves, *([] if y is None else [y])]}
            require(
                len(lengths) == 1 and 0 not in lengths,
                "`x` and `y` must have the same number of samples, at least 1.",
                "samples",
                sorted(lengths),
                "Pass arrays of one length.",
            )
        self._checksums: list[int] | None = None

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        seen: list[int] = []
        for inputs, labels in self._slices() if self._arrays else self._elements():
            if self._labelled and labels is None:
                raise ValueError(
                    "The data must have labels. Received: y=None. Pass `y`, or batches of inputs and labels."
                )
            if not self._arrays:
                seen.append(_checksum(inputs))
                place = len(seen) - 1
                if self._checksums is not None and self._checksums[place : place + 1] != seen[place:]:
                    self._refuse_order()
            yield inputs, labels
        if not self._arrays:
            if not seen or len(seen) != len(self._checksums or seen):
                self._refuse_order()
            self._checksums = seen

    def _refuse_order(self) -> None:
        raise ValueError(
            "The data must hold batches, and bring the same ones in the same order at each pass: each member reads it "
            f"once. Received: {type(self._x).__name__}, whose batches differ between passes or are used up. "
            "Leave out shuffling and augmentation; pass a data set in place of a generator."
        )

    def _slices(self) -> Iterator[tuple[Any, Any]]:
        samples = len(keras.tree.flatten(self._x)[0])
        for begin in range(0, samples, self._size):
            part = slice(begin, begin + self._size)
            inputs = keras.tree.map_structure(lambda leaf, part=part: as_array(leaf[part]), self._x)
            yield inputs, None if self._y is None else as_array(self._y[part])

    def _elements(self) -> Iterator[tuple[Any, Any]]:
        data = self._x
        indexed = isinstance(data, keras.utils.PyDataset)
        for element in (data[number] for number in range(len(data))) if indexed else data:
            inputs, labels, _ = keras.utils.unpack_x_y_sample_weight(element)
            yield keras.tree.map_structure(as_array, inputs), None if labels is None else as_array(labels)


def as_array(tensor: Any) -> Array:
    """A NumPy array, whichever framework's it was."""
    return tensor if isinstance(tensor, np.ndarray) else keras.ops.convert_to_numpy(tensor)


def _checksum(inputs: Any) -> int:
    value = 0
    for leaf in keras.tree.flatten(inputs):
        value = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), value)
    return value
