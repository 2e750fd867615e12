"""Hostile `.npz` files of data and `.keras` files of a model: zip archives both."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faults.files.damage import Case, content
from faults.files.pth import Calls

HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"

__all__ = ["arrays", "configurations", "members", "npy", "packed"]


def packed(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def arrays(x: Any, canary: Path) -> Iterator[Case]:
    """`.npz` files that are wrong.

    Args:
        x: The right array.
        canary: What their code makes, if it is run.
    """
    good = npy(x)
    code = pickle.dumps(Calls(os.system, f"touch '{canary}'"))
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    yield content("objects, which are code", packed({"x.npy": npy(None, header) + code}))
    yield content("no archive, but code", code)
    yield content("code in place of an array", packed({"x.npy": code}))
    yield content("code beside the array", packed({"x.npy": good, "y.npy": code}))
    for name, header in {
        "2**60 numbers": "{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,), }",
        "10**9 numbers": "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,), }",
        "a negative side": "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 3), }",
        "a side that is a text": "{'descr': '<f4', 'fortran_order': False, 'shape': ('4',), }",
        "a side that is true": "{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }",
        "an unknown type": "{'descr': 'no type', 'fortran_order': False, 'shape': (4,), }",
        "a type of 2**30 bytes": "{'descr': 'V1073741824', 'fortran_order': False, 'shape': (4,), }",
        "code for a header": f"__import__('os').system('touch {canary}')",
        "deep brackets": "(" * 5000 + ")" * 5000,
        "deep signs": "-" * 5000 + "1",
        "9,000 digits": "9" * 9000,
        "no mapping": "[]",
        "nothing": "",
        "another key": "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'code': 1}",
    }.items():
        yield content(f"an array with {name} in its header", packed({"x.npy": npy(None, header) + bytes(48)}))
    yield content("a header of 4 GB", packed({"x.npy": b"\x93NUMPY\x02\0" + b"\xff" * 4 + bytes(100)}))
    yield content("version 99", packed({"x.npy": good[:6] + b"\x63" + good[7:]}))
    yield content("no x", packed({"z.npy": good}))
    yield content("no arrays", packed({}))
    yield content("x without its ending", packed({"x": b"text"}))
    yield content("an array alone, not in an archive", good)
    zeros = npy(np.zeros((10**8, 1), "f4"))
    yield content("a y of 400 MB in 400 kB", packed({"x.npy": good, "y.npy": zeros}))
    others: dict[str, Any] = {"texts": np.full(4, "text"), "another shape": np.zeros((4, 5)), "shares": np.eye(4)}
    for name, array in others.items():
        yield content(f"a y of {name}", packed({"x.npy": good, "y.npy": npy(array)}))
    for name, array in {
        "dates": np.zeros((4, 3), "M8[s]"),
        "records": np.zeros(4, [("a", "f4")]),
        "complex numbers": np.full((4, 3), 1j),
        "no samples": np.zeros((0, 3), "f4"),
        "one number": np.float32(3),
    }.items():
        yield content(f"an x of {name}", packed({"x.npy": npy(array)}))
        yield content(f"a y of {name}", packed({"x.npy": good, "y.npy": npy(array)}))


def members(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Arrays of a `.npz` file that are none, or others than they should be."""
    yield "code", pickle.dumps(Calls(os.system, f"touch '{canary}'"))
    yield (
        "an object, which is code",
        npy(None, HEADER.replace("<f4", "|O")) + pickle.dumps(Calls(os.mkdir, str(canary))),
    )
    yield "of 2**60 numbers", npy(None, HEADER.replace("(4,)", "(1152921504606846976,)"))
    yield "deep brackets", npy(None, "(" * 5000 + ")" * 5000)
    yield "a text", npy(np.array("text"))
    yield "texts", npy(np.full((3,), "text"))
    yield "nothing", npy(np.zeros(0))


def configurations(whole: Path, canary: Path, beside: Path) -> Iterator[Case]:
    """`.keras` files whose configuration would run code, or is none.

    Args:
        whole: A whole file.
        canary: What their code makes, if it is run.
        beside: A folder in which nothing may be written.
    """
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])

    def of(changed: Any, **others: bytes) -> bytes:
        text = changed if isinstance(changed, str) else json.dumps(changed)
        return packed({**members, "config.json": text.encode(), **others}, zipfile.ZIP_STORED)

    touch = f"touch '{canary}'"
    called = {"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}
    layers = config["config"]["layers"]

    def with_layer(**layer: Any) -> Any:
        return {**config, "config": {**config["config"], "layers": [*layers[:1], layer, *layers[1:]]}}

    for name, changed in {
        "os.system as model": {**config, "module": "os", "class_name": "system", "config": {"command": touch}},
        "os.system as layer": with_layer(module="os", class_name="system", config=touch, registered_name=None),
        "subprocess.Popen": with_layer(module="subprocess", class_name="Popen", config={"args": touch, "shell": True}),
        "eval as layer": with_layer(
            module="builtins", class_name="eval", config={"source": f"open({str(canary)!r}, 'w')"}
        ),
        "a function as activation": with_layer(
            module="keras.layers", class_name="Activation", config={"activation": called}, registered_name=None
        ),
        "Lambda": with_layer(
            module="keras.layers",
            class_name="Lambda",
            config={"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None}}},
            registered_name=None,
        ),
        "download by get_file": with_layer(
            module="keras.utils", class_name="get_file", config={"fname": str(canary), "origin": "file:///etc/hostname"}
        ),
        "a layer from another module": with_layer(module="antigravity", class_name="Layer", config={}),
        "no class": {**config, "class_name": None},
        "no layers": {**config, "config": {**config["config"], "layers": []}},
        "layers that are a number": {**config, "config": {**config["config"], "layers": 3}},
        "a negative number of units": json.loads(json.dumps(config).replace('"units": 2', '"units": -2')),
        "a text as units": json.loads(json.dumps(config).replace('"units": 2', '"units": "2"')),
    }.items():
        yield content(f"a configuration with {name}", of(changed))
    for name, text in {
        "deep lists": "[" * 10**5 + "]" * 10**5,
        "deep mappings": '{"config":' * 10**5 + "1" + "}" * 10**5,
        "deep layers": '{"module": "keras", "class_name": "Sequential", "config": {"layers": [' * 300,
        "null": "null",
        "a list": "[]",
        "nothing": "",
        "a number of 10,000 digits": "9" * 10_000,
    }.items():
        yield content(f"a configuration of {name}", of(text))
    yield content("no configuration", packed({name: data for name, data in members.items() if name != "config.json"}))
    yield content("no weights", packed({name: data for name, data in members.items() if "weights" not in name}))
    yield content("weights that are none", of(config, **{"model.weights.h5": b"no HDF5"}))
    for name in ("../../beside/new", str(beside / "new"), "../../beside/secret.weights.h5"):
        yield content(f"a member {name}", of(config, **{name: b"new"}), refused=False)
    yield content("weights that unpack to 400 MB", packed({**members, "model.weights.h5": bytes(4 * 10**8)}))
    yield content("a configuration that unpacks to 400 MB", packed({**members, "config.json": b" " * 4 * 10**8}))


def npy(array: Any, header: str | None = None) -> bytes:
    """An array as a file of NumPy; its header alone, where that is given."""
    if header is not None:
        text = header.encode() + b"\n"
        return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
