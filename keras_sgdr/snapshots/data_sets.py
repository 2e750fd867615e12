"""Data sets that are read several times: their batches, their labels, and whether they bring the same ones again."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sgdr._checks import invalid, require
from keras_sgdr.snapshots.scores import Array

__all__ = ["input_batches", "same_at_each_pass"]


@contextlib.contextmanager
def same_at_each_pass(x: Any, y: Any = None, *, labelled: bool = False) -> Iterator[Any]:
    """The labels of data that is read several times.

    A data set is read once before and once after: what it brings must be the same.

    Args:
        x: Arrays, or a data set of batches.
        y: Labels of arrays. A data set has its own.
        labelled: Whether there must be labels.

    Yields:
        The labels as one array; None where there are none.

    Raises:
        ValueError: If the numbers of samples differ, there are no labels where there must be, or a data set brings
            other batches at its last pass.
    """
    checksum = None
    if _is_data_set(x):
        require(y is None, "The labels of a data set must be part of it.", "y", type(y).__name__, "Leave `y` out.")
        if isinstance(x, Iterator):
            raise _not_the_same(x)
        y, checksum = _labels_and_checksum(x)
    else:
        lengths = sorted({len(array) for array in keras.tree.flatten(x if y is None else (x, y))})
        rule = "`x` and `y` must have the same number of samples, at least 1."
        require(len(lengths) == 1 and lengths[0] > 0, rule, "samples", lengths, "Pass arrays of one length.")
    fix = "Pass `y`, or batches of inputs and labels."
    require(y is not None or not labelled, "The data must have labels.", "y", y, fix)
    yield None if y is None else ops.convert_to_numpy(y)
    if checksum is not None and _labels_and_checksum(x)[1] != checksum:
        raise _not_the_same(x)


def input_batches(x: Any, batch_size: int) -> Iterator[Any]:
    """The inputs of a data set, or arrays cut into batches."""
    if _is_data_set(x):
        for batch in _batches(x):
            yield keras.utils.unpack_x_y_sample_weight(batch)[0]
    else:
        for begin in range(0, len(keras.tree.flatten(x)[0]), batch_size):
            part = slice(begin, begin + batch_size)
            yield keras.tree.map_structure(lambda array, part=part: array[part], x)


def _is_data_set(x: Any) -> bool:
    """Whether it holds batches; else it is an array, or a list or dict of arrays."""
    return not all(hasattr(leaf, "shape") for leaf in keras.tree.flatten(x))


def _batches(data: Any) -> Iterator[Any]:
    if isinstance(data, keras.utils.PyDataset):
        return (data[index] for index in range(data.num_batches))
    return iter(data)


def _labels_and_checksum(data: Any) -> tuple[Array | None, int]:
    labels, checksum, count = [], 0, 0
    for batch in _batches(data):
        inputs, label, _ = keras.utils.unpack_x_y_sample_weight(batch)
        count += 1
        if label is not None:
            labels.append(ops.convert_to_numpy(label))
        for leaf in keras.tree.flatten(inputs):
            array = ops.convert_to_numpy(leaf)
            content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
            checksum = zlib.crc32(content, checksum)
    rule = "A data set must hold batches, all with labels or all without."
    require(count > 0 and len(labels) in (0, count), rule, "batches", count, "Pass a data set that is not empty.")
    return (np.concatenate(labels) if labels else None), checksum


def _not_the_same(data: Any) -> ValueError:
    return invalid(
        "A data set must bring the same batches in the same order at each pass: each member reads it once.",
        f"{type(data).__name__}, whose batches differ between passes or are used up",
        "Leave out shuffling and augmentation; pass a data set in place of a generator.",
    )
