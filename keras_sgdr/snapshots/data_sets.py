"""Data sets that are read several times: their batches, their labels, and whether they bring the same ones again."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sgdr._checks import invalid, require

__all__ = ["Targets", "input_batches", "same_at_each_pass", "text_as_arrays"]


class Targets(NamedTuple):
    """What comes with the inputs."""

    samples: int
    labels: Any
    """An array, or a list or dict of arrays; None where there are none."""
    weights: Any = None
    """Those of the samples, or None."""


@contextlib.contextmanager
def same_at_each_pass(x: Any, y: Any = None, *, labelled: bool = False) -> Iterator[Targets]:
    """The labels of data that is read several times.

    A data set is read once before and once after: what it brings must be the same.

    Args:
        x: Arrays, or a data set of batches.
        y: Labels of arrays. A data set has its own.
        labelled: Whether there must be labels.

    Yields:
        The labels and the weights of all samples.

    Raises:
        ValueError: If the numbers of samples differ, there are no labels where there must be, or a data set brings
            other batches at its last pass.
    """
    checksum = None
    if _is_data_set(x):
        require(y is None, "The labels of a data set must be part of it.", "y", type(y).__name__, "Leave `y` out.")
        if isinstance(x, Iterator):
            raise _not_the_same(x)
        targets, checksum = _targets_and_checksum(x)
    else:
        lengths = sorted({_rows(array) for array in keras.tree.flatten(x if y is None else (x, y))})
        rule = "`x` and `y` must have the same number of samples, at least 1."
        require(len(lengths) == 1 and lengths[0] > 0, rule, "samples", lengths, "Pass arrays of one length.")
        labels = None if y is None else keras.tree.map_structure(ops.convert_to_numpy, y)
        targets = Targets(lengths[0], labels)
    fix = "Pass `y`, or batches of inputs and labels."
    require(targets.labels is not None or not labelled, "The data must have labels.", "y", None, fix)
    yield targets
    if checksum is not None and _targets_and_checksum(x)[1] != checksum:
        raise _not_the_same(x)


def text_as_arrays(x: Any) -> Any:
    """The same data with arrays in place of lists of text; on TensorFlow tensors, also in place of arrays of text.

    They are what its models take: NumPy's of two dimensions they do not.
    """
    if isinstance(x, dict):
        return {name: text_as_arrays(each) for name, each in x.items()}
    if isinstance(x, list | tuple) and not all(isinstance(leaf, str | bytes) for leaf in keras.tree.flatten(x)):
        return type(x)(text_as_arrays(each) for each in x) if type(x) in (list, tuple) else x
    if isinstance(x, list | tuple) and x:
        x = np.array(x, object)
    is_text = isinstance(x, np.ndarray) and (
        x.dtype.kind in "US" or (x.dtype == object and all(isinstance(each, str | bytes) for each in x.flat))
    )
    if is_text and keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.convert_to_tensor(x, tf.string)
    return x


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


def _targets_and_checksum(data: Any) -> tuple[Targets, int]:
    labels: list[Any] = []
    weights: list[Any] = []
    checksum, count, samples = 0, 0, 0
    for batch in _batches(data):
        inputs, label, weight = keras.utils.unpack_x_y_sample_weight(batch)
        count += 1
        for all_of_them, one in ((labels, label), (weights, weight)):
            if one is not None:
                all_of_them.append(keras.tree.map_structure(_array, one))
        arrays = [_array(leaf) for leaf in keras.tree.flatten(inputs)]
        samples += _rows(arrays[0])
        for array in arrays:
            content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
            checksum = zlib.crc32(content, checksum)
    rule = "A data set must hold batches, all with labels or all without."
    alike = len(labels) in (0, count) and len(weights) in (0, count)
    require(count > 0 and alike, rule, "batches", count, "Pass a data set that is not empty.")
    return Targets(samples, _joined(labels), _joined(weights)), checksum


def _rows(array: Any) -> int:
    """Samples of an array; a number alone is none."""
    return 0 if getattr(array, "shape", None) == () else len(array)


def _array(leaf: Any) -> Any:
    parts = getattr(leaf, "values", None)
    if isinstance(parts, tuple):  # Of a batch that a distribution strategy has split among its replicas.
        return np.concatenate([ops.convert_to_numpy(part) for part in parts])
    return ops.convert_to_numpy(leaf)


def _joined(batches: list[Any]) -> Any:
    if not batches:
        return None
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *batches)


def _not_the_same(data: Any) -> ValueError:
    return invalid(
        "A data set must bring the same batches in the same order at each pass: each member reads it once.",
        f"{type(data).__name__}, whose batches differ between passes or are used up",
        "Leave out shuffling and augmentation; pass a data set in place of a generator.",
    )
