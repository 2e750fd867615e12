"""The ants and bees of the PyTorch transfer-learning tutorial, in the manner of `keras.datasets`."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import keras
import numpy as np

__all__ = ["classes", "find", "load_data"]

classes = ("ants", "bees")

URL = "https://download.pytorch.org/tutorial/hymenoptera_data.zip"
# torchvision's list: it is what leaves the stray imageNotFound.gif out.
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}

Split = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def load_data(path: str | os.PathLike[str] | None = None, image_size: int = 256) -> tuple[Split, Split]:
    """Loads the ants/bees images: 244 for training and 153 for validation.

    The images are those of `find(path)`; where it finds none, the tutorial's archive (47 MB) is downloaded
    into Keras's cache and extracted there. Each image is decoded by Pillow, resized (bilinear, antialiased)
    until its shorter side is `image_size` and cropped to the central square, pixel for pixel as torchvision's
    `Resize` and `CenterCrop` do. Classes and, within one, file names are in sorted order, so the arrays are
    the same everywhere.

    Args:
        path: Folder that holds `train/ants`, `train/bees`, `val/ants` and `val/bees`. Default: see `find`.
        image_size: Side of the square images, in pixels.

    Returns:
        `(x_train, y_train), (x_val, y_val)`: images as uint8 RGB of shape `(N, image_size, image_size, 3)`,
        labels as int64 of shape `(N,)`, 0 for ants and 1 for bees.

    Raises:
        ValueError: A folder lacks one of the four subfolders or has no image in it, or `image_size` is not
            positive.
        ImportError: Pillow is not installed.
    """
    if image_size < 1:
        raise ValueError(
            f"`image_size` must be a positive number of pixels. Received: image_size={image_size}. "
            "Pass the side of the square images, such as image_size=256."
        )
    folder = find(path) or _download()
    return _load_split(folder / "train", image_size), _load_split(folder / "val", image_size)


def find(path: str | os.PathLike[str] | None = None) -> Path | None:
    """Finds the images on this machine, without a download.

    Looks at `path` if given, else at `$ANTS_BEES_DIR` if set, else at `data/hymenoptera_data` under the
    working directory, else at what an earlier `load_data` downloaded.

    Args:
        path: Folder that holds `train/ants`, `train/bees`, `val/ants` and `val/bees`.

    Returns:
        The folder, or None if there is none.

    Raises:
        ValueError: The folder lacks one of the four subfolders.
    """
    if path is not None:
        return _checked(Path(path), "`path`")
    if named := os.environ.get("ANTS_BEES_DIR"):
        return _checked(Path(named), "`$ANTS_BEES_DIR`")
    for folder in (Path("data", "hymenoptera_data"), _cache() / "datasets" / "hymenoptera_data"):
        if folder.is_dir():
            return _checked(folder, "The folder of ants and bees")
    return None


def _checked(folder: Path, name: str) -> Path:
    missing = [f"{split}/{kind}" for split in ("train", "val") for kind in classes]
    missing = [subfolder for subfolder in missing if not (folder / subfolder).is_dir()]
    if missing:
        raise ValueError(
            f"{name} must hold the subfolders train/ants, train/bees, val/ants and val/bees. "
            f"Received: {folder}, which lacks {', '.join(missing)}. Pass the folder into which "
            "hymenoptera_data.zip was extracted, or none to download it."
        )
    return folder


def _load_split(folder: Path, image_size: int) -> Split:
    images, labels = [], []
    for label, kind in enumerate(classes):
        files = sorted(file for file in (folder / kind).iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise ValueError(
                f"Each class must have at least one image. Received: no image in {folder / kind}. "
                "Extract hymenoptera_data.zip again."
            )
        images += [_decode(file, image_size) for file in files]
        labels += [label] * len(files)
    return np.stack(images), np.array(labels, "int64")


def _decode(file: Path, size: int) -> np.ndarray[Any, Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('Decoding images needs Pillow: pip install "keras-sgdr[study]"') from error
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    # The longer side is cut, not rounded, and a half pixel of the crop is rounded to even: as torchvision
    # does.
    shorter = min(image.size)
    width, height = (size * side // shorter for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _cache() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def _download() -> Path:
    # Where this folder cannot be made, get_file takes one that can be written.
    with contextlib.suppress(OSError):
        _cache().mkdir(parents=True, exist_ok=True)
    archive = Path(keras.utils.get_file("hymenoptera_data.zip", URL, cache_dir=str(_cache())))
    folder = archive.parent / "hymenoptera_data"
    if not folder.is_dir():
        # Extracted elsewhere and renamed: a folder of that name is always whole.
        with tempfile.TemporaryDirectory(dir=archive.parent) as temporary:
            extracted = _checked(_extract(archive, Path(temporary)), f"The archive {archive}")
            try:
                extracted.rename(folder)
            except OSError:
                if not folder.is_dir():  # Else another process was quicker.
                    raise
    return folder


def _extract(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.namelist():
            if ".." in PurePosixPath(member).parts or member.startswith("/"):
                raise ValueError(
                    "Every member of the archive must lie inside of it. "
                    f"Received: {member!r} in {archive}. Delete the file and download it again."
                )
        opened.extractall(folder)
    return folder / "hymenoptera_data"
