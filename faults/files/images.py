"""Images of every kind that may lie in a folder of images, good, odd and damaged, under names that may deceive."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

__all__ = ["Kind", "kinds", "picture"]


class Kind(NamedTuple):
    """A kind of image.

    Attributes:
        name: Of the kind.
        file: Name of its file.
        write: Makes it.
        looks: What it looks like, if it must be read; else it may be refused.
        lossy: Whether its pixels are only nearly those of `looks`.
        deep: Whether it has more than 8 bits a channel, so that it may be refused all the same.
    """

    name: str
    file: str
    write: Callable[[Path], object]
    looks: Any = None
    lossy: bool = False
    deep: bool = False


def picture(width: int = 60, height: int = 44) -> Any:
    """A smooth picture, of which no part is like another."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = [40 + 160 * x, 200 - 150 * y, 128 + 100 * np.sin(5 * x * y)]
    return Image.fromarray(np.stack(waves, axis=2).round().astype("uint8"))


# By mode, the formats that hold it, by the ending of the name.
MODES = {
    "1": ("png", "bmp", "tif", "ppm"),
    "L": ("jpg", "png", "bmp", "tif", "pgm", "webp"),
    "LA": ("png", "tif"),
    "P": ("png", "bmp", "tif"),
    "PA": ("tif",),
    "RGB": ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "ppm", "webp"),
    "RGBA": ("png", "bmp", "tif", "webp"),
    "CMYK": ("jpg", "tif"),
    "YCbCr": ("jpg", "tif"),
    "LAB": ("tif",),
    "I": ("tif", "ppm"),
    "I;16": ("png", "tif", "pgm"),
    "I;16B": ("png", "tif"),
    "F": ("tif", "ppm"),
}
LOSSY = {"jpg", "jpeg", "webp"}
# More than 8 bits a number.
DEEP = {"I": 65535, "I;16": 65535, "I;16B": 65535, "F": 1}


def kinds(secret: Path) -> Iterator[Kind]:
    """All of them.

    Args:
        secret: A file elsewhere that is no image.
    """
    yield from _of_modes()
    yield from _of_jpeg()
    yield from _of_other_formats()
    yield from _of_sizes()
    yield from _damaged()
    yield from _not_files(secret)


def _of_modes() -> Iterator[Kind]:
    grey = picture().convert("L")
    for mode, endings in MODES.items():
        if mode in DEEP:
            numbers = np.asarray(grey) / 255 * DEEP[mode]
            kind = {"I": "int32", "F": "float32", "I;16B": ">u2"}.get(mode, "uint16")
            image, looks = Image.fromarray(numbers.astype(kind)), grey.convert("RGB")
        elif mode == "LAB":
            image, looks = Image.frombytes("LAB", (60, 44), bytes(range(256)) * 30 + bytes(240)), None
        else:
            image = picture().convert(mode)
            looks = image.convert("RGB")
        for ending in endings:
            yield Kind(f"{mode} in {ending}", f"x.{ending}", _saver(image), looks, ending in LOSSY, mode in DEEP)


def _of_jpeg() -> Iterator[Kind]:
    image = picture()
    jpegs: dict[str, dict[str, Any]] = {
        "progressive": {"progressive": True},
        "of quality 1": {"quality": 1},
        "without subsampling": {"subsampling": 0},
        "optimized": {"optimize": True},
        "with restart markers": {"restart_marker_blocks": 1},
        "with a comment of 60,000 bytes": {"comment": b"x" * 60_000},
        "with a colour profile that is none": {"icc_profile": b"no profile" * 10},
        "with EXIF that is none": {"exif": b"Exif\0\0" + b"\xff" * 100},
    }
    for name, options in jpegs.items():
        looks = None if "quality" in name else image
        yield Kind(f"JPEG {name}", "x.jpg", _saver(image, format="JPEG", **options), looks, lossy=True)
    for orientation in (3, 6, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        # Not turned, as torchvision does not.
        yield Kind(f"JPEG with orientation {orientation}", "x.jpg", _saver(image, exif=exif), image, lossy=True)
    inverted = Image.fromarray(255 - np.asarray(image.convert("CMYK")), "CMYK")
    yield Kind("JPEG of CMYK that is inverted", "x.jpg", _saver(inverted), inverted.convert("RGB"), lossy=True)
    data = _saved(image, "JPEG")
    thumbnail = data[:2] + b"\xff\xe1\x00\x10Exif\0\0" + bytes(8) + data[2:]
    yield Kind("JPEG with empty EXIF", "x.jpg", _content(thumbnail), image, lossy=True)
    yield Kind("two JPEGs in a file", "x.jpg", _content(data + data), image, lossy=True)
    mpo = {"save_all": True, "append_images": [image.rotate(90)]}
    yield Kind("JPEG of two pictures", "x.jpg", _saver(image, format="MPO", **mpo), image, lossy=True)


def _of_other_formats() -> Iterator[Kind]:
    image = picture()
    for ending in ("png", "webp", "tif"):
        pages = {"save_all": True, "append_images": [image.rotate(90)]}
        yield Kind(f"two pictures in {ending}", f"x.{ending}", _saver(image, **pages), image, lossy=ending == "webp")
    gif = {"format": "GIF", "save_all": True, "append_images": [image.rotate(90)]}
    yield Kind("an animated GIF, named .jpg", "x.jpg", _saver(image, **gif), image, lossy=True)
    for name in ("GIF", "ICO", "TGA", "PCX", "DDS", "EPS", "PDF", "JPEG2000", "AVIF", "SGI", "IM", "ICNS"):
        yield Kind(f"{name}, named .jpg", "x.jpg", _saver(image, format=name))
    for ending, name in {"jpg": "PNG", "png": "JPEG", "bmp": "WEBP", "webp": "TIFF", "JPG": "JPEG"}.items():
        yield Kind(f"{name}, named .{ending}", f"x.{ending}", _saver(image, format=name), image, lossy=True)
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "zstd", "lzma"):
        yield Kind(f"TIFF by {compression}", "x.tif", _saver(image, compression=compression), image, lossy=True)
    see_through = image.copy()
    see_through.putalpha(0)
    yield Kind("PNG, fully transparent", "x.png", _saver(see_through))
    yield Kind("PNG with a palette and transparency", "x.png", _saver(image.convert("P"), transparency=0))
    yield Kind("WEBP without loss", "x.webp", _saver(image, lossless=True), image)
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(new) (w) file closefile\nshowpage\n"
    yield Kind("PostScript that writes a file", "x.jpg", _content(program))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield Kind("SVG, named .png", "x.png", _content(svg))


def _of_sizes() -> Iterator[Kind]:
    for width, height in ((1, 1), (1, 60), (2, 3), (100, 1), (65_000, 1), (1, 65_000), (700, 7)):
        for ending in ("png", "jpg"):
            image = Image.new("RGB", (width, height), (10, 200, 90))
            looks = image if max(width, height) <= 100 * min(width, height) else None
            yield Kind(f"{width} x {height} in {ending}", f"x.{ending}", _saver(image), looks, ending == "jpg")
    # Of one colour, which takes some kilobytes.
    for side in (7_000, 9_400, 13_000):
        name = f"{side} x {side} in some kilobytes"
        yield Kind(name, "x.png", _saver(Image.new("1", (side, side))))
    for width, height in ((2**31 - 1, 2**31 - 1), (30_000, 30_000), (2**31 - 1, 1), (0, 0), (0, 5)):
        for color in (0, 6):
            data = _png(width, height, color)
            name = f"PNG that says it is {width} x {height}, of kind {color}"
            yield Kind(name, "x.png", _content(data))
        head = f"P6 {width} {height} 255\n".encode() + bytes(100)
        name = f"PPM that says it is {width} x {height}"
        yield Kind(name, "x.ppm", _content(head))
    bmp = _saved(picture(), "BMP")
    for width, height in ((65_535, 65_535), (2**31 - 1, -(2**31)), (-60, 44), (60, -44)):
        data = bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]
        name = f"BMP that says it is {width} x {height}"
        yield Kind(name, "x.bmp", _content(data))
    jpeg = _saved(picture(), "JPEG")
    place = jpeg.index(b"\xff\xc0") + 5
    big = jpeg[:place] + b"\xff\xff\xff\xff" + jpeg[place + 4 :]
    yield Kind("JPEG that says it is 65535 x 65535", "x.jpg", _content(big))
    webp = _saved(picture(), "WEBP", lossless=True)
    place = webp.index(b"VP8L") + 9
    wide = webp[:place] + b"\xff\xff\xff\x0f" + webp[place + 4 :]
    yield Kind("WEBP that says it is 16384 x 16384", "x.webp", _content(wide))


def _damaged() -> Iterator[Kind]:
    for name, ending in {
        "JPEG": "jpg",
        "PNG": "png",
        "WEBP": "webp",
        "TIFF": "tif",
        "BMP": "bmp",
        "PPM": "ppm",
    }.items():
        whole = _saved(picture(), name)
        half, begin = whole[: len(whole) // 2], whole[:20]
        for what, data in {
            "cut in the middle": half,
            "cut after 20 bytes": begin,
            "without its last byte": whole[:-1],
            "of zeros after its half": half + bytes(len(whole) - len(half)),
            "with noise in it": half[:-50] + bytes(range(200, 250)) + whole[len(half) :],
        }.items():
            yield Kind(f"{name} {what}", f"x.{ending}", _content(data))
    png = _saved(picture(), "PNG")
    place = png.index(b"IDAT") + 10
    for name, data in {
        "with a bad checksum": png[:place] + b"\0\0" + png[place + 2 :],
        "without its end": png[: png.index(b"IEND") - 4],
        "without data": png[: png.index(b"IDAT") - 4] + png[png.index(b"IEND") - 4 :],
        "with a text that unpacks to 100 MB": png[:33]
        + _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))
        + png[33:],
        "with a profile that unpacks to 100 MB": png[:33]
        + _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))
        + png[33:],
    }.items():
        yield Kind(f"PNG {name}", "x.png", _content(data))
    for name, data in {
        "nothing": b"",
        "a text": b"no image\n",
        "a web page": b"<!DOCTYPE html><html></html>",
        "zeros": bytes(5000),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(1000),
    }.items():
        yield Kind(f"{name}, named .jpg", "x.jpg", _content(data))


def _not_files(secret: Path) -> Iterator[Kind]:
    image = picture()
    for file in (
        "a b.jpg",
        "\u00e4\u4e2d\U0001f41d.jpg",
        "'\"`$(touch new).jpg",
        "-rf.jpg",
        "x.tar.jpg",
        "x.JPEG",
        "n" * 250 + ".jpg",
    ):
        yield Kind(f"the name {file[:20]!r}", file, _saver(image, format="JPEG"), image, lossy=True)
    yield Kind("a name with a line break", "a\nb.jpg", _saver(image), image, lossy=True)
    yield Kind("a name that is no UTF-8", "a\udcff.jpg", _saver(image, format="JPEG"), image, lossy=True)

    def link(path: Path) -> None:
        target = path.parents[3] / "target"
        image.save(target, "JPEG")
        path.symlink_to(target)

    yield Kind("a link to an image", "x.jpg", link, image, lossy=True)
    yield Kind("a link to what is no image", "x.jpg", lambda path: path.symlink_to(secret))
    yield Kind("a link to nothing", "x.jpg", lambda path: path.symlink_to("nothing"))
    yield Kind("a link to itself", "x.jpg", lambda path: path.symlink_to(path))
    yield Kind("a link to its folder", "x.jpg", lambda path: path.symlink_to(path.parent))
    yield Kind("a folder", "x.jpg", lambda path: path.mkdir())

    def unreadable(path: Path) -> None:
        image.save(path)
        path.chmod(0)

    yield Kind("without the right to read it", "x.jpg", unreadable)


def _saver(image: Any, **options: Any) -> Callable[[Path], object]:
    def save(path: Path) -> None:
        with path.open("w+b") as file:
            image.save(file, **{"format": FORMATS.get(path.suffix.lower(), "JPEG"), **options})

    return save


FORMATS = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM", ".webp": "WEBP"}


def _content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def _saved(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, color: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""
    head = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks)
