"""Hostile archives of images: members that lead outside, links, and what unpacks to more than a disk holds."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from faults.files.damage import Case, content

__all__ = ["hostile", "whole"]

ROOT = "hymenoptera_data"
FOLDERS = [f"{ROOT}/{split}/{kind}" for split in ("train", "val") for kind in ("ants", "bees")]


def whole(*more: tuple[str | zipfile.ZipInfo, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    """An archive as the tutorial's, with a file a class, and further members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for folder in FOLDERS:
            archive.writestr(f"{folder}/1.jpg", b"an image")
        for name, data in more:
            archive.writestr(name, data)
    return file.getvalue()


def hostile(beside: Path) -> Iterator[Case]:
    """Archives that are whole, and would do harm.

    Args:
        beside: A folder in which nothing may be written.
    """
    up = "../../../beside"
    for name in (
        f"{up}/new",
        f"{up}/secret.weights.h5",
        f"{ROOT}/../{up}/new",
        f"{ROOT}/train/../../../../../../beside/new",
        f"./{up}/new",
        str(beside / "new"),
        f"/{beside}/new",
        "..",
        "../",
    ):
        yield content(f"a member {name.replace(str(beside), '/beside')}", whole((name, b"new")))
    for name in (
        "..\\..\\beside\\new",
        "C:\\new",
        "C:/new",
        "\\\\server\\new",
        "new\n",
        "\x1b[2J",
        "n\xf6w",
        "-rf",
        "~",
        "CON",
    ):
        yield content(f"a member {name!r}", whole((f"{ROOT}/{name}", b"new")), refused=False)
    yield content("a name of 300 letters", whole((f"{ROOT}/{'n' * 300}", b"new")))
    yield content("a path of 6,000 letters", whole((f"{ROOT}/{'n/' * 3000}n", b"new")))
    for name, target in {"outside": str(beside), "up": up, "to itself": "link"}.items():
        link = zipfile.ZipInfo(f"{ROOT}/link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        yield content(f"a link {name}", whole((link, target.encode())), refused=False)
        yield content(f"a member behind a link {name}", whole((link, target.encode()), (f"{ROOT}/link/new", b"new")))
    yield content("a folder in place of a file", whole((f"{ROOT}/train/ants/1.jpg/", b"")))
    yield content("a file in place of a folder", whole((f"{ROOT}/train/ants", b"new")))
    yield content("two members of one name", whole((f"{ROOT}/train/ants/1.jpg", b"another")), refused=False)
    yield content("no images", _packed((f"{ROOT}/readme.txt", b"text")))
    yield content("no members", _packed())
    yield content("another folder", _packed(("images/train/ants/1.jpg", b"an image")))
    yield content("a file for the folder", _packed((ROOT, b"text")))
    yield content("20,000 members", whole(*((f"{ROOT}/{n}", b"") for n in range(20_000))), refused=False)
    bomb = whole((f"{ROOT}/bomb", bytes(6 * 10**8)), kind=zipfile.ZIP_DEFLATED)
    yield content("600 MB in 600 kB", bomb)
    size = (6 * 10**8).to_bytes(4, "little")
    yield content("600 MB that say they are 99 bytes", bomb.replace(size, (99).to_bytes(4, "little")))
    yield content(
        "a member that says it is 99 MB",
        whole((f"{ROOT}/a", b"a" * 77)).replace((77).to_bytes(4, "little"), (99 * 10**6).to_bytes(4, "little")),
    )
    yield content("600 MB of many members", whole(*((f"{ROOT}/{n}", bytes(10**6)) for n in range(600)), kind=8))
    yield content("300 members of one another", _overlapping(300))
    yield content("an archive in it", whole((f"{ROOT}/inner.zip", bomb)), refused=False)
    good = whole()
    entry = b"PK\x01\x02\x14\x03\x14\0"
    yield content("an encrypted member", good.replace(entry + b"\0\0", entry + b"\1\0"))
    yield content("an unknown packing", good.replace(entry + b"\0\0\0", entry + b"\0\0c"))
    for kind, name in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")):
        packed = whole(kind=kind)
        yield content(f"packed by {name}", packed, refused=False)
        place = packed.index(b"1.jpg") + 12
        yield content(f"packed by {name}, damaged", packed[:place] + b"\xff" * 9 + packed[place + 9 :])


def _packed(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def _overlapping(count: int) -> bytes:
    """Many entries of the directory for the same megabyte."""
    data = whole((f"{ROOT}/shared", bytes(10**6)), kind=zipfile.ZIP_DEFLATED)
    end = data.rindex(b"PK\x05\x06")
    directory = int.from_bytes(data[end + 16 : end + 20], "little")
    last = data.rindex(b"PK\x01\x02", 0, end)
    number, size = len(FOLDERS) + 1 + count, end - directory + count * (end - last)
    tail = data[end : end + 8] + number.to_bytes(2, "little") * 2 + size.to_bytes(4, "little") + data[end + 16 :]
    return data[:end] + data[last:end] * count + tail
