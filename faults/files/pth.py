"""Hostile files of PyTorch's format: pickles that would run code, unfold or lie about sizes, in both layouts."""

from __future__ import annotations

import builtins
import collections
import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faults.files.damage import Case, content

__all__ = ["archives", "pickles", "programs", "tensors"]

# The first pickles of a file of PyTorch before 1.6.
LEGACY_HEAD = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
LAYOUTS = ("zip", "old format", "bare")


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def programs(canary: Path) -> Iterator[Case]:
    """Files with code that makes a canary, if it is run."""
    code = f"open({str(canary)!r}, 'w').close()"
    calls = {
        "os.system": Calls(os.system, f"touch '{canary}'"),
        "os.mkdir": Calls(os.mkdir, str(canary)),
        "subprocess.Popen": Calls(subprocess.Popen, ["touch", str(canary)]),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "open": Calls(builtins.open, str(canary), "w"),
        "Path.touch": Calls(Path.touch, canary),
    }
    for name, call in calls.items():
        for protocol, layout in zip((0, 2, 4, 2), (*LAYOUTS, "zip"), strict=True):
            pickled = pickle.dumps(collections.OrderedDict(weight=call), protocol)
            yield in_layout(f"{name}, protocol {protocol}", layout, pickled)
    touch = f"(S'touch {canary}'\n".encode()
    by_hand = {
        "INST": touch + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + touch[1:] + b"o.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n" + touch + b"t\x81.",
        "a name of two parts": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + touch + b"tR.",
        "a name with a dot": b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93" + touch + b"tR.",
        "BUILD with a state": b"\x80\x02ccollections\nOrderedDict\n)R}U\x0c__setstate__cos\nsystem\nsb.",
        "a second pickle": pickle.dumps({}, 2) + pickle.dumps(calls["os.system"], 2),
        "getattr": b"cbuiltins\ngetattr\n(cos\nS'system'\ntR" + touch + b"tR.",
        "torch.load": b"ctorch\nload\n" + touch + b"tR.",
        "torch.hub": b"ctorch.hub\n_load_local\n" + touch + b"S'x'\ntR.",
    }
    for name, pickled in by_hand.items():
        yield in_layout(f"os.system by {name}", "zip", pickled, refused=name != "a second pickle")
    yield content("the control's pickle", pickle.dumps(calls["os.system"]))


def pickles() -> Iterator[Case]:
    """Pickles that are small, and cost much where they are followed."""
    deep = b")" + b"\x85" * 10**6
    twice = b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    pairs = b"(" + b"(S'a'\nI1\nl" * 10_000 + b"lq\x00"
    for layout in LAYOUTS:
        yield in_layout("a deep tuple as key", layout, b"\x80\x02}" + deep + b"K\x01s.")
    costly = {
        "a deep tuple as value": b"\x80\x02}U\x01a" + deep + b"s.",
        "deep lists": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
        "a tuple that doubles, as key": b"\x80\x02}" + twice + b"K\x01s.",
        "a tuple that doubles, as value": b"\x80\x02}U\x01a" + twice + b"s.",
        "a list that is gone through often": pairs + b"ccollections\nOrderedDict\n(h\x00tR" * 10_000 + b".",
        "a text of 2**62 bytes": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"a.",
        "a text of 2**31 bytes": b"\x80\x02X" + (2**31).to_bytes(4, "little") + b"a.",
        "a number of 2**31 bytes": b"\x80\x02\x8b" + (2**31 - 1).to_bytes(4, "little") + b"a.",
        "a number of 100,000 digits": b"L" + b"9" * 10**5 + b"L\n.",
        "a frame of 2**60 bytes": b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"}.",
        "a place of 2**31 in the memo": b"\x80\x02}r\xff\xff\xff\x7f.",
        "a list that holds itself": b"\x80\x02]q\x00h\x00a.",
        "a mapping that holds itself": b"\x80\x02}q\x00U\x01ah\x00s.",
        "a million values": b"\x80\x02(" + b"K\x01" * 10**6 + b"t.",
        "no value": b"\x80\x02.",
        "more marks than there are": b"\x80\x02t.",
        "an unknown instruction": b"\x80\x02\xff.",
        "protocol 200": b"\x80\xc8}.",
        "an extension": b"\x80\x02\x82\x01.",
        "numbers for names": b"\x80\x02}K\x01K\x02s.",
        "a text for a tensor": b"\x80\x02}U\x01aU\x01bs.",
        "None": b"N.",
    }
    for name, pickled in costly.items():
        yield in_layout(name, "zip", pickled)
        yield in_layout(name, "old format", pickled)


def tensors() -> Iterator[Case]:
    """Tensors that lie about their sizes."""
    lies: dict[str, tuple[Any, ...]] = {
        "one number as 10**9, by a stride of 0": (1, 0, (10**9,), (0,)),
        "one number as 10**18, by a stride of 0": (1, 0, (10**9, 10**9), (0, 0)),
        "2**80 numbers": (4, 0, (2**40, 2**40), (0, 0)),
        "ends behind its storage": (4, 1, (4,), (1,)),
        "begins behind its storage": (4, 5, (1,), (1,)),
        "a stride beyond its storage": (4, 0, (2, 2), (1000, 1)),
        "10**9 numbers of a storage of 4": (4, 0, (10**9,), (1,)),
        "a negative offset": (4, -1, (2,), (1,)),
        "a negative stride": (4, 3, (2,), (-1,)),
        "a negative size": (4, 0, (-2,), (1,)),
        "more sizes than strides": (4, 0, (2, 2), (1,)),
        "100 dimensions": (4, 0, (1,) * 100, (1,) * 100),
        "a size of 100 bits": (4, 0, (10**30,), (1,)),
        "a stride of 100 bits": (4, 0, (1,), (10**30,)),
        "an empty side beside one of 100 bits": (4, 0, (0, 10**30), (1, 1)),
        "a storage of 2**60": (2**60, 0, (4,), (1,)),
        "a storage of another length": (5, 0, (4,), (1,)),
        "a storage of a negative length": (-1, 0, (4,), (1,)),
    }
    for name, numbers in lies.items():
        yield in_layout(f"a tensor: {name}", "zip", tensor(*numbers), bytes(16))
        yield in_layout(f"a tensor: {name}", "old format", tensor(*numbers), bytes(16))
    for kind in ("ComplexFloatStorage", "QUInt8Storage", "Float8_e4m3fnStorage", "NoStorage"):
        yield in_layout(f"a tensor of {kind}", "zip", tensor(4, 0, (4,), (1,), kind), bytes(16))


def archives(beside: Path) -> Iterator[Case]:
    """Zip archives that are wrong themselves.

    Args:
        beside: A folder in which nothing may be written.
    """
    whole = tensor(4, 0, (4,), (1,))

    def packed(*members: tuple[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", kind) as archive:
            for name, data in (("archive/version", b"3\n"), *members):
                archive.writestr(name, data)
        return file.getvalue()

    yield content("no members", packed())
    yield content("no pickle", packed(("archive/data/0", bytes(16))))
    yield content("no storage", packed(("archive/data.pkl", whole)))
    yield content("a storage of another name", packed(("archive/data.pkl", whole), ("archive/data/1", bytes(16))))
    yield content("a module of TorchScript", packed(("archive/data.pkl", whole), ("archive/constants.pkl", b"N.")))
    bomb = packed(("archive/data.pkl", tensor(10**8, 0, (10**8,), (1,))), ("archive/data/0", bytes(4 * 10**8)), kind=8)
    yield content("a storage that unpacks to 400 MB", bomb)
    bomb = packed(("archive/data.pkl", b"\x80\x02X" + (4 * 10**8).to_bytes(4, "little") + b"a" * 4 * 10**8), kind=8)
    yield content("a pickle that unpacks to 400 MB", bomb)
    yield content(
        "a directory that says that the pickle is small",
        bomb.replace((4 * 10**8 + 7).to_bytes(4, "little"), (99).to_bytes(4, "little")),
    )
    outside = ("../../beside/new", str(beside / "new"), "archive/../../../beside/secret.weights.h5")
    for name in outside:
        yield content(f"a member {name}", packed(("archive/data.pkl", whole), (name, b"x")))
    good = packed(("archive/data.pkl", whole), ("archive/data/0", bytes(16)))
    yield content("an encrypted member", good.replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0"))
    yield content(
        "an unknown packing", good.replace(b"PK\x01\x02\x14\x03\x14\0\0\0\0", b"PK\x01\x02\x14\x03\x14\0\0\0c")
    )
    yield content("a tape archive", b"archive/data.pkl".ljust(257, b"\0") + b"ustar\x0000" + bytes(1000))


def in_layout(name: str, layout: str, pickled: bytes, storage: bytes = b"", refused: bool = True) -> Case:
    """A pickle as a file of the zip format, of the old one, or alone."""
    if layout == "bare":
        return content(f"{name} ({layout})", pickled, refused)
    if layout == "old format":
        head = b"".join(pickle.dumps(item, 2) for item in LEGACY_HEAD)
        tail = pickle.dumps(["0"], 2) + (len(storage) // 4).to_bytes(8, "little") + storage
        return content(f"{name} ({layout})", head + pickled + tail, refused)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", storage)
    return content(f"{name} ({layout})", file.getvalue(), refused)


def tensor(length: int, offset: int, size: Any, stride: Any, kind: str = "FloatStorage") -> bytes:
    """The pickle of a mapping of one tensor, as PyTorch would write it."""

    def numbers(values: Any) -> str:
        return "(" + "".join(f"I{value}\n" for value in values) + "t"

    storage = f"(S'storage'\nctorch\n{kind}\nS'0'\nS'cpu'\nI{length}\ntQ"
    arguments = f"({storage}I{offset}\n{numbers(size)}{numbers(stride)}I00\nccollections\nOrderedDict\n)Rt"
    return f"(S'fc.bias'\nctorch._utils\n_rebuild_tensor_v2\n{arguments}Rd.".encode()
