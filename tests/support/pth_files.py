"""`.pth` files made by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path


def write_zip(path: Path, pickled: bytes, storage: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", storage)
    return path


def pickled_tensor(length: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """{"weight": a float32 tensor of storage 0}, in pickle's text opcodes, as torch would write it."""

    def numbers(values: tuple[int, ...]) -> str:
        return "(" + "".join(f"I{value}\n" for value in values) + "t"

    storage = f"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{length}\ntQ"
    arguments = f"({storage}I{offset}\n{numbers(size)}{numbers(stride)}I00\nNt"
    return f"(S'weight'\nctorch._utils\n_rebuild_tensor_v2\n{arguments}Rd.".encode()
