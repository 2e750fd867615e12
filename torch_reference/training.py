"""The training loop of PyTorch's transfer-learning tutorial, on the batches it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from torch_reference._checks import count, require

__all__ = ["Batches", "EpochRow", "Training", "train"]

# From the index of an epoch to its batches: images (N, C, H, W), of the model's dtype and on its device, and
# labels (N,).
Batches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class EpochRow:
    """What one epoch reached: means over samples (NaN where not validated) and the rate last applied."""

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass
class Training:
    """The record of a run.

    Attributes:
        rates: Learning rate of the first parameter group, as applied, one for each update.
        losses: Mean loss of the batch before the update, one for each update.
        epochs: One row for each epoch.
        best_epoch: Epoch of the highest validation accuracy, the first of equals; None without validation.
        best_state: The model's state dict after `best_epoch`. The model itself is left with its last weights.
    """

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    epochs: list[EpochRow] = field(default_factory=list)
    best_epoch: int | None = None
    best_state: dict[str, Tensor] | None = None


def train(
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    batches: Batches,
    validation: Batches | None = None,
    *,
    epochs: int,
    initial_epoch: int = 0,
    on_update: Callable[[int], None] | None = None,
    on_epoch: Callable[[EpochRow], None] | None = None,
) -> Training:
    """Train with cross-entropy; a training and a validation phase each epoch.

    Args:
        model: Maps images to logits.
        optimizer: Updates the model's parameters.
        scheduler: Stepped once a batch, after the optimizer; None leaves the rate alone.
        batches: The training batches of an epoch.
        validation: The validation batches after an epoch.
        epochs: Train up to this epoch, as `initial_epoch` counts.
        initial_epoch: Index of the first epoch; above 0 where a run is resumed.
        on_update: Called after each update with its index in this run; gradients are still in place.
        on_epoch: Called after each epoch with its row.

    Returns:
        The record of the run.

    Raises:
        ValueError: If an epoch brings no batch, or a number of epochs is none.
    """
    count("epochs", epochs, "Pass how many epochs to train.")
    count("initial_epoch", initial_epoch, "Pass the index of the first epoch, 0 unless a run is resumed.", least=0)
    run = Training()
    best = -1.0
    for epoch in range(initial_epoch, epochs):
        model.train()
        losses: list[Tensor] = []
        correct: list[Tensor] = []
        sizes: list[int] = []
        for images, labels in batches(epoch):
            optimizer.zero_grad()
            logits = model(images)
            loss = nn.functional.cross_entropy(logits, labels)
            loss.backward()
            run.rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            # Kept as tensors until the epoch ends: reading one back makes the accelerator wait.
            losses.append(loss.detach())
            correct.append((logits.detach().argmax(1) == labels).sum())
            sizes.append(len(labels))
            if on_update is not None:
                on_update(len(run.rates) - 1)
            if scheduler is not None:
                scheduler.step()
        loss_mean, accuracy, values = _means(epoch, "training", losses, correct, sizes)
        run.losses += values
        val_loss = val_accuracy = float("nan")
        if validation is not None:
            val_loss, val_accuracy = _evaluate(model, validation, epoch)
            if val_accuracy > best:
                best, run.best_epoch = val_accuracy, epoch
                run.best_state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        row = EpochRow(epoch, run.rates[-1], loss_mean, accuracy, val_loss, val_accuracy)
        run.epochs.append(row)
        if on_epoch is not None:
            on_epoch(row)
    return run


@torch.no_grad()
def _evaluate(model: nn.Module, batches: Batches, epoch: int) -> tuple[float, float]:
    model.eval()
    losses, correct, sizes = [], [], []
    for images, labels in batches(epoch):
        logits = model(images)
        losses.append(nn.functional.cross_entropy(logits, labels))
        correct.append((logits.argmax(1) == labels).sum())
        sizes.append(len(labels))
    loss, accuracy, _ = _means(epoch, "validation", losses, correct, sizes)
    return loss, accuracy


def _means(
    epoch: int, phase: str, losses: list[Tensor], correct: list[Tensor], sizes: list[int]
) -> tuple[float, float, list[float]]:
    """Loss and accuracy as means over samples, not over batches: the last batch may be smaller."""
    fix = "Pass a function that returns new batches at every call, not an iterator that is used up."
    rule, received = "An epoch must bring at least one batch.", f"no batch for {phase} in epoch {epoch}"
    require(bool(sizes), rule, received, fix)
    values = torch.stack(losses).tolist()
    samples = sum(sizes)
    loss = sum(value * size for value, size in zip(values, sizes, strict=True)) / samples
    return loss, torch.stack(correct).sum().item() / samples, values
