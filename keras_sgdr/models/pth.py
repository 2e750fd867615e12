"""PyTorch's `.pth` files of tensors, read without torch and without running code from them.

A `.pth` file holds a pickle, and a pickle can call any function. Here it can call three, which only make containers and
note the arguments that they are given; every other name is an error.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from keras_sgdr._checks import invalid

__all__ = ["read_pth"]

Array = np.ndarray[Any, Any]

MAGIC = 0x1950A86A20F9469CFC6C  # First pickle of a file of PyTorch before 1.6.
PROTOCOL = 1001

# bfloat16, which NumPy lacks, is read as the upper half of a float32.
STORAGES = {
    ("torch", f"{name}Storage"): dtype
    for name, dtype in {
        "BFloat16": "bfloat16",
        "Half": "float16",
        "Float": "float32",
        "Double": "float64",
        "Bool": "bool",
        "Byte": "uint8",
        "Char": "int8",
        "Short": "int16",
        "Int": "int32",
        "Long": "int64",
    }.items()
}


@dataclass(frozen=True)
class _Storage:
    """A one-dimensional array elsewhere in the file, which tensors are views of."""

    dtype: str
    key: str
    length: int

    def decode(self, data: bytes, byte_order: Literal["<", ">"]) -> Array:
        stored = np.dtype("uint16" if self.dtype == "bfloat16" else self.dtype).newbyteorder(byte_order)
        if len(data) != self.length * stored.itemsize:
            raise ValueError(f"storage {self.key} has {len(data)} bytes instead of {self.length} {self.dtype}")
        numbers = np.frombuffer(data, stored).astype(stored.newbyteorder("="))
        if self.dtype == "bfloat16":
            numbers = (numbers.astype("uint32") << 16).view("float32")
        return numbers


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage: offset and strides in elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def view(self, numbers: Array) -> Array:
        if len(self.size) != len(self.stride) or min((self.offset, *self.size, *self.stride)) < 0:
            raise ValueError(f"a tensor has offset {self.offset}, size {self.size} and stride {self.stride}")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if 0 in self.size:
            return np.zeros(self.size, numbers.dtype)
        if last >= len(numbers):  # NumPy would read the memory behind it.
            raise ValueError(f"a tensor ends at element {last} of a storage of {len(numbers)}")
        strides = [step * numbers.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.size, strides).copy()


def _rebuild_tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


CALLABLES: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = CALLABLES.get((module, name)) or STORAGES.get((module, name))
        if allowed is None:
            raise ValueError(f"it refers to {module}.{name}, which is no tensor and was not run")
        return allowed

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, length, *view = pid
        if kind != "storage" or dtype not in STORAGES.values() or view not in ([], [None]):
            raise ValueError(f"it refers to an object of unknown kind, {pid!r}")
        return _Storage(dtype, str(key), int(length))


def read_pth(path: Path) -> dict[str, Array]:
    """Read a state dict that `torch.save` wrote, in the zip format or in that of PyTorch before 1.6.

    Args:
        path: The file.

    Returns:
        The tensors by name; bfloat16 as float32, other types as they are.

    Raises:
        ValueError: If the file refers to anything but tensors, is not a state dict, or is damaged.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
            file.seek(0)
            return _read_zip(file) if is_zip else _read_legacy(file)
    except OSError:
        raise
    except Exception as error:  # A damaged pickle can raise anything.
        rule = "A .pth file must hold a state dict of tensors and nothing else."
        fix = "Save the tensors alone, with torch.save(model.state_dict(), path)."
        raise invalid(rule, f"{path}: {error}", fix) from error


def _read_zip(file: IO[bytes]) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        root = next(name for name in names if name.endswith("data.pkl")).removesuffix("data.pkl")
        big = f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big"
        with archive.open(f"{root}data.pkl") as pickled:
            tensors = _state_dict(_Unpickler(pickled).load())
        numbers = {
            storage: storage.decode(archive.read(f"{root}data/{storage.key}"), ">" if big else "<")
            for storage in {tensor.storage for tensor in tensors.values()}
        }
    return {name: tensor.view(numbers[tensor.storage]) for name, tensor in tensors.items()}


def _read_legacy(file: IO[bytes]) -> dict[str, Array]:
    if _Unpickler(file).load() != MAGIC or _Unpickler(file).load() != PROTOCOL:
        raise ValueError("it is not of a format that PyTorch 0.4 or later writes")
    order: Literal["<", ">"] = "<" if _Unpickler(file).load()["little_endian"] else ">"
    tensors = _state_dict(_Unpickler(file).load())
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    numbers = {}
    for key in _Unpickler(file).load():
        length = int.from_bytes(file.read(8), "little" if order == "<" else "big")
        storage = storages[key]
        size = 2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize
        numbers[storage] = storage.decode(file.read(length * size), order)
    return {name: tensor.view(numbers[tensor.storage]) for name, tensor in tensors.items()}


def _state_dict(loaded: Any) -> dict[str, _Tensor]:
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in loaded.items()
    ):
        raise ValueError("it is not a flat mapping from names to tensors")
    return dict(loaded)
