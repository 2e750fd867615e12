"""What tests of the reference share: optimizers, rates as they are applied, and a training of a second."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["EPS", "applied", "sgd", "tiny_batches", "tiny_model"]

EPS = float(np.finfo(np.float64).eps)


def sgd(*rates: float) -> torch.optim.SGD:
    """An optimizer with one parameter group per rate."""
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates])


def applied(scheduler: LRScheduler, updates: int, group: int = 0) -> list[float]:
    """The rates of the next `updates` updates, read where the optimizer reads them."""
    rates = []
    for _ in range(updates):
        rates.append(float(scheduler.optimizer.param_groups[group]["lr"]))
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def tiny_batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Two batches, of 5 and 2 images, whose class is their brightness."""
    generator = torch.Generator().manual_seed(epoch)
    for size in (5, 2):
        labels = torch.randint(0, 2, (size,), generator=generator)
        noise = torch.rand(size, 3, 8, 8, generator=generator, dtype=torch.float64)
        yield noise + labels.reshape(-1, 1, 1, 1), labels


def tiny_model() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, 2)).double()
