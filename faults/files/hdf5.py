"""Hostile files of Keras's weights: HDF5 that points elsewhere, or holds other than what a model needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from faults.files.damage import Case

__all__ = ["edited"]


def edited(whole: Path, secret: Path) -> Iterator[Case]:
    """Copies of a whole file in which the first array, or what holds it, is another.

    Args:
        whole: A whole file.
        secret: A file elsewhere, which must not be read.
    """
    with h5py.File(whole) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        first = names[0]
        shape = file[first].shape

    def case(name: str, edit: Callable[[h5py.File], Any], refused: bool = True) -> Case:
        def write(path: Path) -> None:
            shutil.copyfile(whole, path)
            with h5py.File(path, "r+") as file:
                edit(file)

        return Case(name, write, refused)

    def instead(make: Callable[[h5py.File], Any]) -> Callable[[h5py.File], Any]:
        def edit(file: h5py.File) -> None:
            del file[first]
            make(file)

        return edit

    def external(file: h5py.File) -> None:
        file.create_dataset(first, shape, "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(str(secret), first, shape)
        file.create_virtual_dataset(first, layout, fillvalue=7)

    yield case("an array that is missing", instead(lambda file: None))
    yield case("a group in place of an array", instead(lambda file: file.create_group(first)))
    yield case("an array in another file", instead(external))
    yield case("an array that is a view of another file", instead(virtual))
    links: dict[str, Any] = {
        "a link to another file": h5py.ExternalLink(str(secret), "/"),
        "a link to nothing": h5py.SoftLink("/nothing"),
        "a link to itself": h5py.SoftLink("/" + first),
        "a link to its group": h5py.SoftLink("/" + first.rpartition("/")[0]),
    }
    for name, link in links.items():
        yield case(name, instead(_set(first, link)))
    for name, array in {
        "another shape": np.zeros((3, 3), "f4"),
        "its shape, transposed": np.zeros(shape[::-1], "f4"),
        "no number": np.zeros((0,), "f4"),
        "texts": np.full(shape, b"text"),
        "records": np.zeros(shape, [("a", "f4"), ("b", "i4")]),
        # Keras takes the real part, with a warning.
        "complex numbers": np.full(shape, 1j),
        "dates": np.zeros(shape, "i8").astype(h5py.opaque_dtype(np.dtype("M8[s]"))),
    }.items():
        yield case(
            f"an array of {name}",
            instead(_set(first, array)),
            name != "complex numbers",
        )
    floats = h5py.vlen_dtype(np.dtype("f4"))
    yield case("an array of arrays", instead(lambda file: file.create_dataset(first, shape, floats)))
    yield case("an array of references", instead(lambda file: file.create_dataset(first, shape, h5py.ref_dtype)))
    for name, sides in {"10**9": (10**9,), "10**15": (10**15,), "2**62": (2**31, 2**31)}.items():
        yield case(f"an array of {name} numbers, none stored", instead(_sparse(first, sides)))
    bomb = {"chunks": (10**6,), "compression": "gzip", "data": np.zeros(10**8, "f4")}
    yield case("an array of 400 MB in 400 kB", instead(lambda file: file.create_dataset(first, **bomb)))
    yield case("no groups", lambda file: [file.__delitem__(name) for name in list(file)])
    yield case("an array more", lambda file: file.create_dataset("layers/more/vars/0", data=np.zeros(3)), False)
    yield case("a link to the root in it", _set("layers/loop", h5py.SoftLink("/")), False)
    yield case("10,000 attributes", lambda file: [file.attrs.create(str(n), n) for n in range(10_000)], False)


def _set(name: str, value: Any) -> Callable[[h5py.File], Any]:
    return lambda file: file.__setitem__(name, value)


def _sparse(name: str, sides: tuple[int, ...]) -> Callable[[h5py.File], Any]:
    return lambda file: file.create_dataset(name, sides, "f4", chunks=(1000,) * len(sides))
