"""PyTorch's `.pth` files of tensors, read without torch, without pickle, and without running code from them.

A `.pth` file holds a pickle, and a pickle can call any function, end the interpreter, or unfold to any size. So none is
loaded here: of its instructions those that make numbers, texts, lists, tuples and mappings are followed, and of the
names in it those of tensors are known. What is read costs no more than the file is large.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from keras_sgdr._checks import invalid

__all__ = ["read_pth"]

Array = np.ndarray[Any, Any]

MAGIC = 0x1950A86A20F9469CFC6C  # First pickle of a file of PyTorch before 1.6.
PROTOCOL = 1001
# Instructions that are followed, and values that are passed to calls. A tensor takes some 50, so that this is for 2,000
# of them; ResNet-152 has 932.
MOST_WORK = 100_000

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
        """No copy: a stride of 0 makes one stored number a tensor of any size."""
        if len(self.size) != len(self.stride) or min((self.offset, *self.size, *self.stride)) < 0:
            raise ValueError(f"a tensor has offset {self.offset}, size {self.size} and stride {self.stride}")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if 0 in self.size:
            return np.zeros(self.size, numbers.dtype)
        if last >= len(numbers):  # NumPy would read the memory behind it.
            raise ValueError(f"a tensor ends at element {last} of a storage of {len(numbers)}")
        strides = [step * numbers.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.size, strides)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    _require_integers(offset, *size, *stride)
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor has no storage")
    return _Tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


def _mapping(items: Iterable[Any] = ()) -> dict[str, Any]:
    """A mapping from texts: to hash a tuple of tuples can take for ever, or end the interpreter."""
    pairs = [tuple(item) for item in items]
    if not all(len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
        raise ValueError("it is not a flat mapping from names to tensors")
    return dict(pairs)


# What a pickle may call.
CALLABLES: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _mapping,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


# Instructions whose argument is the value.
VALUES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"}
VALUES |= {"SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: Mapping[str, Callable[[], Any]] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}


def _read_pickle(file: IO[bytes]) -> Any:
    """The value of the pickle that begins here; the file is left at its end."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    work = 0

    def popped(count: int | None = None) -> list[Any]:
        """The last values, None: those since the last mark."""
        start = marks.pop() if count is None else len(stack) - count
        if start < 0:
            raise ValueError("its pickle takes more than there is")
        values = stack[start:]
        del stack[start:]
        return values

    for instruction, argument, _ in pickletools.genops(file):
        work += 1
        if work > MOST_WORK:
            raise ValueError(f"its pickle has more than {MOST_WORK} instructions")
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                break
            case "MARK":
                marks.append(len(stack))
            case name if name in VALUES:
                stack.append(argument)
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case name if name in EMPTY:
                stack.append(EMPTY[name]())
            case "TUPLE" | "LIST":
                stack.append((tuple if instruction.name == "TUPLE" else list)(popped()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(popped(int(instruction.name[-1]))))
            case "APPEND" | "APPENDS":
                items = popped(1 if instruction.name == "APPEND" else None)
                stack[-1].extend(items)
            case "DICT":
                items = popped()
                stack.append(_mapping(zip(items[::2], items[1::2], strict=True)))
            case "SETITEM" | "SETITEMS":
                items = popped(2 if instruction.name == "SETITEM" else None)
                stack[-1].update(_mapping(zip(items[::2], items[1::2], strict=True)))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_known(*str(argument).split(" ")))
            case "STACK_GLOBAL":
                stack.append(_known(*popped(2)))
            case "REDUCE":
                function, arguments = popped(2)
                work += sum(len(each) for each in arguments if isinstance(each, list | tuple))
                stack.append(function(*arguments))
            case "BINPERSID":
                stack.append(_storage(*popped(1)))
            case "BUILD":  # Attributes, such as the versions of modules.
                popped(1)
            case name:
                raise ValueError(f"it has the instruction {name}, which no tensor needs")
    (value,) = popped(1)
    return value


def _known(*path: Any) -> Any:
    if not all(isinstance(part, str) for part in path):
        raise ValueError("it refers to something without a name")
    module, name = path
    allowed = CALLABLES.get((module, name)) or STORAGES.get((module, name))
    if allowed is None:
        raise ValueError(f"it refers to {module}.{name}, which is no tensor and was not run")
    return allowed


def _storage(pid: Any) -> _Storage:
    kind, dtype, key, _, length, *view = pid
    known = kind == "storage" and dtype in STORAGES.values() and isinstance(key, str) and view in ([], [None])
    if not known:
        raise ValueError("it refers to an object of unknown kind")
    _require_integers(length)
    return _Storage(dtype, key, length)


def _require_integers(*values: Any) -> None:
    if not all(type(value) is int for value in values):
        raise ValueError("a tensor has sizes that are no integers")


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
            # Whole, so that what claims to be larger than the file is not made room for.
            return _read_zip(file, path.stat().st_size) if is_zip else _read_legacy(io.BytesIO(file.read()))
    except Exception as error:  # A damaged pickle can raise anything.
        if isinstance(error, OSError) and error.filename is not None:
            raise  # Names the file.
        rule = "A .pth file must hold a state dict of tensors and nothing else."
        fix = "Save the tensors alone, with torch.save(model.state_dict(), path)."
        raise invalid(rule, f"{path}: {str(error)[:300]}", fix) from error


def _read_zip(file: IO[bytes], size: int) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        if (unpacked := sum(member.file_size for member in archive.infolist())) > size:
            raise ValueError(f"its {size} bytes unpack to {unpacked}, while PyTorch does not pack them")
        names = archive.namelist()
        root = next((name for name in names if name.endswith("data.pkl")), "data.pkl").removesuffix("data.pkl")
        big = f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big"
        tensors = _state_dict(_read_pickle(io.BytesIO(archive.read(f"{root}data.pkl"))))
        numbers = {
            storage: storage.decode(archive.read(f"{root}data/{storage.key}"), ">" if big else "<")
            for storage in {tensor.storage for tensor in tensors.values()}
        }
    return {name: tensor.view(numbers[tensor.storage]) for name, tensor in tensors.items()}


def _read_legacy(file: IO[bytes]) -> dict[str, Array]:
    if _read_pickle(file) != MAGIC or _read_pickle(file) != PROTOCOL:
        raise ValueError("it is not of a format that PyTorch 0.4 or later writes")
    order: Literal["<", ">"] = "<" if _read_pickle(file)["little_endian"] else ">"
    tensors = _state_dict(_read_pickle(file))
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    numbers = {}
    for key in _read_pickle(file):
        length = int.from_bytes(file.read(8), "little" if order == "<" else "big")
        storage = storages[str(key)]
        size = 2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize
        numbers[storage] = storage.decode(file.read(length * size), order)
    return {name: tensor.view(numbers[tensor.storage]) for name, tensor in tensors.items()}


def _state_dict(loaded: Any) -> dict[str, _Tensor]:
    if not isinstance(loaded, dict) or not all(isinstance(tensor, _Tensor) for tensor in loaded.values()):
        raise ValueError("it is not a flat mapping from names to tensors")
    return loaded
