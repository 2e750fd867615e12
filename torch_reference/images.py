"""The tutorial's ants and bees: two folders of images, decoded once, augmented as torchvision does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from torch_reference._checks import count

__all__ = ["AntsBees", "find_folder"]

# Pillow knows more formats, one of them of programs that it would have run.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Resizing the shorter side makes the longer one as many times longer.
_MOST_OBLONG, _MOST_PIXELS = 100, 50_000_000

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def find_folder(data: Path | None) -> Path:
    """The given folder, else `$ANTS_BEES_DIR`, else `data/hymenoptera_data`.

    Raises:
        FileNotFoundError: If the one found first has no `train` and `val` in it.
    """
    folder = data or Path(os.environ.get("ANTS_BEES_DIR") or Path("data", "hymenoptera_data"))
    if not all((folder / split).is_dir() for split in ("train", "val")):
        raise FileNotFoundError(
            f"The images must lie in two folders, train and val. Received: data={str(folder)!r}. Extract "
            "hymenoptera_data.zip of PyTorch's transfer-learning tutorial and pass its folder, as --data or "
            "in $ANTS_BEES_DIR."
        )
    return folder


class AntsBees:
    """Batches of both splits, kept in memory as uint8 and transformed on the way out.

    Training: random resized crop, random flip, in a new order each epoch. Validation: the tutorial's centre
    crop, at the same ratio of 256 to 224.

    Args:
        folder: Holds `train` and `val`, and in each a folder a class.
        image_size: Pixels of a side.
        batch_size: Images in a batch; the last one of an epoch may be smaller.
        seed: With the epoch it decides order, crops and flips, so a resumed run sees the same images.
        device: Where the batches are to be.

    Raises:
        ValueError: If an image is damaged, too large, far too oblong or of more than 8 bits a channel.

    Attributes:
        classes: Names of the classes in the order of their labels.
        steps_per_epoch: Training batches in an epoch.

    Raises:
        ValueError: If a size or the seed is no such number.
    """

    def __init__(self, folder: Path, image_size: int, batch_size: int, seed: int, device: torch.device) -> None:
        count("image_size", image_size, "Pass the pixels of a side, such as image_size=96.")
        count("batch_size", batch_size, "Pass the images in a batch, such as batch_size=16.")
        count("seed", seed, "Pass a seed such as seed=0.", least=0, most=2**32 - 1)
        train = ImageFolder(str(folder / "train"), pil_to_tensor, loader=_load)
        self.classes: list[str] = train.classes
        self._train: list[tuple[Tensor, int]] = list(train)
        self.steps_per_epoch = -(-len(self._train) // batch_size)
        to_float = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(_MEAN, _STD)]
        self._augment = v2.Compose(
            [v2.RandomResizedCrop(image_size, antialias=True), v2.RandomHorizontalFlip(), *to_float]
        )
        crop = v2.Compose([v2.Resize(image_size * 256 // 224, antialias=True), v2.CenterCrop(image_size), *to_float])
        validation = ImageFolder(str(folder / "val"), pil_to_tensor, loader=_load)
        self._validation = [(crop(image), label) for image, label in validation]
        self._batch_size, self._seed, self._device = batch_size, seed, device

    def training(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The training batches of an epoch: normalised float32 images (N, 3, H, W), labels (N,)."""
        # v2 draws from torch's global generator: put its state back, for whoever draws from it next.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed * 1_000_003 + epoch)
            order = torch.randperm(len(self._train)).tolist()
            images = [(self._augment(self._train[i][0]), self._train[i][1]) for i in order]
        return self._batches(images)

    def validation(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The validation batches, the same after every epoch."""
        del epoch
        return self._batches(self._validation)

    def _batches(self, samples: list[tuple[Tensor, int]]) -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(0, len(samples), self._batch_size):
            images, labels = zip(*samples[first : first + self._batch_size], strict=True)
            batch = torch.stack(images).to(self._device, memory_format=torch.channels_last)
            yield batch, torch.tensor(labels, device=self._device)


def _load(path: str) -> Image.Image:
    """An image of a file, in RGB."""
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            shorter, longer = sorted(opened.size)
            if longer > _MOST_OBLONG * shorter or shorter * longer > _MOST_PIXELS:
                raise ValueError(f"it has {shorter} x {longer} pixels")
            if opened.mode.startswith(("I", "F")):  # Pillow would cut its numbers off at 255.
                raise ValueError(f"its pixels are of mode {opened.mode!r}")
            return opened.convert("RGB")
    except Exception as error:  # Pillow's are of any type.
        raise ValueError(
            f"Each image must be whole, of {', '.join(_FORMATS)}, with 8 bits a channel, at most {_MOST_PIXELS:,} "
            f"pixels and at most {_MOST_OBLONG} times as long as wide. Received: {path!r}: {error}. Remove it, or "
            "replace it by one that is."
        ) from error
