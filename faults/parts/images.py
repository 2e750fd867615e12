"""Kinds of images, each in a folder as the tutorial's, through both sides' loading: read right, or refused by name."""

from __future__ import annotations

import functools
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from faults.apart import Ground
from faults.files.images import Kind, kinds, picture
from faults.trials import Fault, Settings, Trials
from keras_sgdr.data import ants_bees
from torch_reference.images import AntsBees

SIDE = 16
# Of a lossy format, or another palette.
MOST_LOSS = 12.0


def trials(settings: Settings) -> Iterator[Trials]:
    with tempfile.TemporaryDirectory() as name:
        ground = Ground(Path(name))
        for what, split, read in (("`ants_bees.load_data`", "train", ours), ("`torch_reference`", "val", theirs)):
            found = Trials(f"Kinds of images, into {what}")
            for kind in itertools.islice(kinds(ground.secret), 0, None, settings.count(1, 9)):
                path = folder_of(ground, kind, split)
                action = functools.partial(look, kind, path, read)
                ground.attempt(found, kind.name, action, names=path.name.encode(errors="replace").decode())
            yield found


def folder_of(ground: Ground, kind: Kind, split: str) -> Path:
    """The path of the image among good ones, in a folder as the tutorial's."""
    folder = ground.files / "images"
    shutil.rmtree(folder, ignore_errors=True)
    for each in ("train/ants", "train/bees", "val/ants", "val/bees"):
        (folder / each).mkdir(parents=True)
        picture().save(folder / each / "good.png")
    path = folder / split / "bees" / kind.file
    kind.write(path)
    return path


def ours(folder: Path) -> Any:
    """The images of the training, by `keras_sgdr`, in their order."""
    (x, y), _ = ants_bees.load_data(folder, SIDE)
    if x.dtype != np.uint8 or x.shape[1:] != (SIDE, SIDE, 3) or len(y) != 3:
        raise Fault("wrong", f"{x.dtype}, {x.shape}, {len(y)} labels")
    return x[1:]


def theirs(folder: Path) -> Any:
    """The images of the validation, by `torch_reference`: normalised, of which the normalisation is taken back."""
    side = SIDE * 224 // 256
    data = AntsBees(folder, side, 8, 0, torch.device("cpu"))
    ((x, _),) = data.validation(0)
    list(data.training(0))
    pixels = (
        x * torch.tensor([0.229, 0.224, 0.225])[:, None, None] + torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    ) * 255
    return pixels[1:].permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8).numpy()


def look(kind: Kind, path: Path, read: Callable[[Path], Any]) -> None:
    """See that the image is what it looks like, and the good one beside it is too."""
    try:
        images = read(path.parents[2])
    except ValueError as error:
        if kind.looks is not None and not kind.deep:
            raise Fault("wrong", f"it was refused: {error}") from None
        raise
    # A folder is no image to torchvision, whatever its name is.
    names = sorted(["good.png", *([] if path.is_dir() and len(images) == 1 else [kind.file])])
    for name, image in zip(names, images, strict=True):
        looks = picture() if name == "good.png" else kind.looks
        if looks is not None:
            side = image.shape[0]
            crop = v2.Compose([v2.Resize(SIDE), v2.CenterCrop(side)])
            loss = np.abs(np.asarray(crop(looks), "float32") - image).mean()
            if loss > (MOST_LOSS if kind.lossy and name == kind.file else 2.0):
                raise Fault("wrong", f"its pixels differ by {loss:.0f} from what it looks like")
