"""Runs in PyTorch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.optim import Optimizer

from parity_tests.processes import Arrays
from parity_tests.training.batches import Batch, Feed
from parity_tests.training.run import BETAS, EPSILON, Run, n_threads, runs_of, versions_of
from parity_tests.training.weights import CHANNELS, initial_weights
from torch_reference.groups import rate_groups
from torch_reference.optimizers import AdamWR, KerasSGD
from torch_reference.schedulers import SGDR
from torch_reference.training import EpochRow, train

__all__ = ["arrays"]


def arrays(config: dict[str, Any]) -> Arrays:
    """The traces of runs: see `run.traces`."""
    torch.use_deterministic_algorithms(True)
    threads, versions = n_threads(), versions_of(torch, torchvision, np)
    results: dict[str, Any] = {}
    for name, run in runs_of(config):
        torch.set_num_threads(2 if run.variant == "two_threads" else threads)
        kernels: Any = (
            torch.backends.mkldnn.flags(enabled=False) if run.variant == "no_mkldnn" else contextlib.nullcontext()
        )
        with kernels:
            results |= {f"{name}/{key}": value for key, value in trace(run).items()}
        results[f"{name}/versions"] = versions
    return results


class BiasedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose running variance takes up the batch's biased variance, as Keras's does.

    PyTorch too normalises with the biased variance, but averages `n / (n - 1)` times it.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.running_var is not None
        assert self.momentum is not None
        before = self.running_var.clone()
        y: Tensor = super().forward(x)
        n = x.numel() / x.shape[1]
        # A new tensor: autograd has kept the one that `forward` updated.
        self.running_var = self.running_var * ((n - 1) / n) + before * ((1 - self.momentum) / n)
        return y


class SmallNet(nn.Module):
    """Two convolutions with BatchNorm, an average over the image, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, CHANNELS[0], 3, 2, 1, bias=False)
        self.bn1 = BiasedBatchNorm2d(CHANNELS[0])
        self.conv2 = nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, 2, 1, bias=False)
        self.bn2 = BiasedBatchNorm2d(CHANNELS[1])
        self.fc = nn.Linear(CHANNELS[1], 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def build(run: Run) -> nn.Module:
    model: nn.Module = (
        SmallNet() if run.net == "small" else torchvision.models.resnet50(num_classes=2, norm_layer=BiasedBatchNorm2d)
    )
    state = {name: torch.from_numpy(tensor) for name, tensor in initial_weights(run).items()}
    left = model.load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in left.missing_keys)
    layout = torch.channels_last if run.variant == "channels_last" else torch.contiguous_format
    # The weights are float32 numbers, or carry noise above float32's: this rounds nothing that matters.
    return model.to(getattr(torch, run.precision)).to(memory_format=layout)


def optimizer_for(run: Run, model: nn.Module) -> Optimizer:
    parameters: Any = model.parameters() if run.multipliers is None else rate_groups(model, run.multipliers)
    if run.optimizer == "adamw":
        return torch.optim.AdamW(parameters, run.eta_max, BETAS, EPSILON["torch"], run.weight_decay)
    if run.optimizer == "adamwr":
        return AdamWR(parameters, run.eta_max, run.weight_decay)
    form = KerasSGD if run.momentum_form == "keras" else torch.optim.SGD
    return form(
        parameters,
        lr=run.eta_max,
        momentum=run.momentum,
        nesterov=run.nesterov,
        weight_decay=run.weight_decay,
    )


def tensors(batches: Iterable[Batch], run: Run) -> Iterator[tuple[Tensor, Tensor]]:
    layout = torch.channels_last if run.variant == "channels_last" else torch.contiguous_format
    for images, labels in batches:
        yield torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=layout), torch.from_numpy(labels)


def trace(run: Run) -> dict[str, Any]:
    feed = Feed(run)
    recorded: dict[str, Any] = {}
    saved = io.BytesIO()

    def make() -> tuple[nn.Module, Optimizer, SGDR]:
        model = build(run)
        optimizer = optimizer_for(run, model)
        return model, optimizer, SGDR(optimizer, run.T_0, run.T_mult, steps_per_epoch=feed.steps)

    def fit(parts: tuple[nn.Module, Optimizer, SGDR], initial_epoch: int = 0) -> Any:
        def inspect(update: int) -> None:
            if run.inspected and update == 0:
                for name, parameter in parts[0].named_parameters():
                    assert parameter.grad is not None
                    recorded[f"gradients/{name}"] = parameter.grad.numpy().copy()
            if update + 1 == run.inspected:
                for name, tensor in parts[0].state_dict().items():
                    recorded[f"weights/{name}"] = tensor.detach().numpy().copy()

        def save(row: EpochRow) -> None:
            if row.epoch + 1 == run.checkpoint and initial_epoch == 0:
                torch.save([part.state_dict() for part in parts], saved)

        return train(
            *parts,
            lambda epoch: tensors(feed.training(epoch), run),
            (lambda epoch: tensors(feed.validation(), run)) if run.validation and not initial_epoch else None,
            epochs=run.epochs,
            initial_epoch=initial_epoch,
            on_update=None if initial_epoch else inspect,
            on_epoch=save,
        )

    parts = make()
    training = fit(parts)
    recorded["losses"], recorded["rates"] = np.array(training.losses), np.array(training.rates)
    recorded["val_losses"] = np.array([row.val_loss for row in training.epochs])
    recorded["val_accuracies"] = np.array([row.val_accuracy for row in training.epochs])
    if run.checkpoint:
        parts = make()
        saved.seek(0)
        for part, part_state in zip(parts, torch.load(saved, weights_only=True), strict=True):
            cast(Any, part).load_state_dict(part_state)
        recorded["resumed_losses"] = np.array(fit(parts, run.checkpoint).losses)
    return recorded
