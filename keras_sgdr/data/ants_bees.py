"""The images of ants and bees of PyTorch's transfer-learning tutorial, loaded like a `keras.datasets` module."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import keras
import numpy as np

from keras_sgdr import _optional
from keras_sgdr._checks import invalid
from keras_sgdr._files import path_of, sha256
from keras_sgdr.data.drawn import check_side, drawn_insects

__all__ = ["classes", "find", "load_data", "load_or_draw"]

classes = ("ants", "bees")

URL = "https://download.pytorch.org/tutorial/hymenoptera_data.zip"
# Of the archive, as PyTorch's tutorials check it.
SHA256 = "fbc41b31d544714d18dd1230b1e2b455e1557766e13e67f9f5a7a23af7c02209"
# Bytes that the archive may unpack to; JPEGs do not get smaller in it, and its 47 MB are as many unpacked.
MOST_UNPACKED = 100_000_000
# How many times as long as the shorter side of an image the longer one may be: all of it is decoded and resized.
MOST_OBLONG = 100
DELETE = "Delete the file, so that it is downloaded again."
# Pixels that an image may have: of two copies at 4 bytes each, 400 MB.
MOST_PIXELS = 50_000_000
# Each may hold an image of so many pixels.
MOST_THREADS = 8
# torchvision's list, which leaves out the stray imageNotFound.gif.
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
# Whatever a file is named. Pillow knows more: PostScript, which is a program, it would have run.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

Split = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def load_data(path: str | os.PathLike[str] | None = None, image_size: int = 256) -> tuple[Split, Split]:
    """Load the images: 244 for training and 153 for validation.

    The images are those of `find(path)`; where there are none, the tutorial's archive (47 MB) is downloaded into
    Keras's cache and extracted there. Each image is decoded by Pillow, resized (bilinear, antialiased) until its
    shorter side is `image_size`, and cropped to the central square, pixel for pixel as torchvision's `Resize` and
    `CenterCrop` do. Classes, and file names within a class, are in sorted order, so the arrays are the same everywhere.

    Example:

    >>> (x, y), (x_val, y_val) = ants_bees.load_data(image_size=224)
    >>> x.shape, x_val.shape
    ((244, 224, 224, 3), (153, 224, 224, 3))

    Args:
        path: Folder that holds `train/ants`, `train/bees`, `val/ants` and `val/bees`. None: see `find`.
        image_size: Side of the square images, in pixels.

    Returns:
        `(x_train, y_train), (x_val, y_val)`: images as uint8 RGB of shape `(N, image_size, image_size, 3)`, labels as
        int64 of shape `(N,)`, 0 for ants and 1 for bees.

    Raises:
        ValueError: If a folder lacks one of the four subfolders or has no image in it, an image is damaged, too large,
            far too oblong or of more than 8 bits a channel, the downloaded archive is not the published one, or
            `image_size` is not a positive integer.
        ImportError: If Pillow is not installed.
        ConnectionError: If there are no images and the archive cannot be downloaded.
    """
    check_side("image_size", image_size)
    folder = find(path) or _download()
    return _load_split(folder / "train", image_size), _load_split(folder / "val", image_size)


def load_or_draw(
    path: str | os.PathLike[str] | None = None, image_size: int = 224, seed: int = 0
) -> tuple[str, Split, Split]:
    """Load the images for `batches(image_size=...)`, or draw insects where they can neither be found nor downloaded.

    Sides are 8/7 of `image_size`, as 256 is of 224; batches for validation are cropped to the centre. Images for
    training have at least 256 pixels: random crops of small ones would be blurred by enlarging.

    Args:
        path: Folder of the images. None: see `find`.
        image_size: Side of the images in a batch, in pixels.
        seed: Seed of the drawings.

    Returns:
        What the images are, `"the real images"` or `"drawn insects"`; the training split, the validation split.

    Raises:
        ValueError: See `load_data`.
        ImportError: If Pillow is not installed.
    """
    check_side("image_size", image_size)
    side = int(image_size) * 8 // 7
    try:
        folder = find(path) or _download()
    except ConnectionError as error:
        text = "Training on DRAWN INSECTS instead of ants and bees: the accuracy says nothing about real images."
        warnings.warn(f"{error} {text}", stacklevel=2)
        return "drawn insects", *drawn_insects(image_size=side, seed=seed)
    train, val = _load_split(folder / "train", max(side, 256)), _load_split(folder / "val", side)
    return "the real images", train, val


def find(path: str | os.PathLike[str] | None = None) -> Path | None:
    """Find the images on this machine, without a download.

    The folder is `path` if given, else `$ANTS_BEES_DIR` if set, else `data/hymenoptera_data` under the working
    directory, else where an earlier `load_data` extracted the download.

    Args:
        path: Folder that holds `train/ants`, `train/bees`, `val/ants` and `val/bees`.

    Returns:
        The folder, or None if there is none.

    Raises:
        ValueError: If the folder lacks one of the four subfolders.
    """
    if path is not None:
        return _with_subfolders(path_of("path", path, "Pass that of the images.", "a folder"), "`path`")
    if folder_of_user := os.environ.get("ANTS_BEES_DIR"):
        return _with_subfolders(Path(folder_of_user), "`$ANTS_BEES_DIR`")
    for folder in (Path("data", "hymenoptera_data"), _cache() / "datasets" / "hymenoptera_data"):
        if folder.is_dir():
            return _with_subfolders(folder, "The folder of ants and bees")
    return None


def _with_subfolders(folder: Path, name: str) -> Path:
    """The folder, if it has the four subfolders."""
    subfolders = [f"{split}/{kind}" for split in ("train", "val") for kind in classes]
    missing = [subfolder for subfolder in subfolders if not os.path.isdir(folder / subfolder)]
    if missing:
        raise invalid(
            f"{name} must hold the subfolders train/ants, train/bees, val/ants and val/bees.",
            f"{folder}, which lacks {', '.join(missing)}",
            "Pass the folder into which hymenoptera_data.zip was extracted, or none to download it.",
        )
    return folder


def _load_split(folder: Path, image_size: int) -> Split:
    files, labels = [], []
    for label, kind in enumerate(classes):
        of_class = sorted(file for file in (folder / kind).iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not of_class:
            rule = "Each class must have at least one image."
            raise invalid(rule, f"no image in {folder / kind}", "Extract hymenoptera_data.zip again.")
        files += of_class
        labels += [label] * len(of_class)
    # Pillow decodes and resizes without Python's lock.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as threads:
        images = list(threads.map(partial(_decode, size=image_size), files))
    return np.stack(images), np.array(labels, "int64")


def _decode(file: Path, size: int) -> np.ndarray[Any, Any]:
    pillow = _optional.load("PIL.Image", "Decoding images")
    try:
        with pillow.open(file, formats=FORMATS) as opened:
            shorter, longer = sorted(opened.size)
            if longer > MOST_OBLONG * shorter or shorter * longer > MOST_PIXELS:
                raise ValueError(f"its sides are {shorter} and {longer} pixels")
            if opened.mode.startswith(("I", "F")):  # Pillow would cut its numbers off at 255.
                raise ValueError(f"its pixels are of mode {opened.mode!r}")
            image = opened.convert("RGB")
    except Exception as error:  # Pillow's are of any type.
        if isinstance(error, OSError) and error.filename is not None:
            raise  # Names the file.
        rule = (
            f"Each image must be whole, of {', '.join(FORMATS)}, with 8 bits a channel, at most {MOST_PIXELS:,} pixels "
            f"and at most {MOST_OBLONG} times as long as wide."
        )
        raise invalid(rule, f"{file}: {error}", "Remove it, or replace it by one that is.") from error
    # As in torchvision, the longer side is truncated, and a half pixel of the crop is rounded to even.
    shorter = min(image.size)
    width, height = (size * side // shorter for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    image = image.resize((width, height), pillow.Resampling.BILINEAR)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _cache() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def _download() -> Path:
    # Where this folder cannot be created, `get_file` chooses one that can be written to.
    with contextlib.suppress(OSError):
        _cache().mkdir(parents=True, exist_ok=True)
    try:
        archive = Path(keras.utils.get_file("hymenoptera_data.zip", URL, cache_dir=str(_cache())))
    except Exception as error:  # Of no particular type in `get_file`.
        fix = "Extract it from elsewhere, and pass the folder or set $ANTS_BEES_DIR."
        raise ConnectionError(
            f"The images must be on this machine or downloadable. Received: {error}. {fix}"
        ) from error
    folder = archive.parent / "hymenoptera_data"
    if not folder.is_dir():
        if (digest := sha256(archive)) != SHA256:
            raise invalid(f"The SHA-256 of {archive.name} must be {SHA256}.", f"{digest} for {archive}", DELETE)
        # Extracted elsewhere and then renamed, so that a folder of that name is always complete.
        with tempfile.TemporaryDirectory(dir=archive.parent) as temporary:
            extracted = _with_subfolders(_extract(archive, Path(temporary)), f"The archive {archive}")
            try:
                extracted.rename(folder)
            except OSError:
                if not folder.is_dir():  # Otherwise another process was faster.
                    raise
    return folder


def _extract(archive: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.namelist():
                if ".." in PurePosixPath(member).parts or member.startswith("/"):
                    rule = "Every member of the archive must lie inside of it."
                    raise invalid(rule, f"{member!r} in {archive}", DELETE)
            if (unpacked := sum(member.file_size for member in opened.infolist())) > MOST_UNPACKED:
                rule = f"The archive must unpack to at most {MOST_UNPACKED} bytes."
                raise invalid(rule, f"{unpacked} in {archive}", DELETE)
            opened.extractall(folder)
    except Exception as error:  # Of a damaged archive, of any type.
        if isinstance(error, OSError) and error.errno is not None:  # As where the disk is full.
            raise OSError(error.errno, error.strerror, str(archive)) from error
        raise invalid("The archive must be whole.", f"{archive}: {error}", DELETE) from error
    return folder / "hymenoptera_data"
