"""Fine-tune a torchvision ResNet on ants and bees with SGDR: `python -m torch_reference --help`."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
import tyro
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim import Optimizer

from torch_reference._checks import count
from torch_reference.groups import rate_groups
from torch_reference.images import AntsBees, find_folder
from torch_reference.models import resnet
from torch_reference.optimizers import KerasSGD
from torch_reference.schedulers import SGDR
from torch_reference.training import EpochRow, Training, train


@dataclass(frozen=True)
class Options:
    """Fine-tune a torchvision ResNet on ants and bees with SGDR."""

    data: Path | None = None
    """Folder with train and val in it. Else $ANTS_BEES_DIR, else data/hymenoptera_data."""
    depth: Literal[50, 101, 152] = 50
    """Layers of the network."""
    weights: str = os.environ.get("SGDR_WEIGHTS") or "imagenet"
    """imagenet, none, or a .safetensors or .pth state dict in torchvision's names. Unless given, $SGDR_WEIGHTS where it
    is set."""
    image_size: int = 96
    """Pixels of a side."""
    batch_size: int = 16
    """Images in a batch."""
    epochs: int = 14
    """Epochs to train."""
    T_0: float = 2.0
    """Length of the first cycle, in epochs."""
    T_mult: float = 2.0
    """Each cycle is this many times as long as the one before."""
    eta_max: float = 0.01
    """Rate at every restart."""
    eta_min: float = 0.0
    """Rate towards which every cycle anneals."""
    multipliers: dict[str, float] | None = None
    """Rates for groups of layers, multiples of the schedule's: fc 1 layer4 0.3 "*" 0.1. See groups.rate_groups."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum 0.9, or AdamW."""
    momentum_form: Literal["pytorch", "keras"] = "pytorch"
    """Whose form of momentum SGD has; under a changing rate they differ."""
    seed: int = 0
    """Decides the last layer's first weights, the order, the crops and the flips."""
    output: Path = Path("runs", "torch_reference")
    """Folder for history.csv and summary.json."""


def finetune(options: Options, console: Console) -> dict[str, Any]:
    """Train as the options say, write `history.csv` and `summary.json`, print a row per cycle.

    Returns:
        What `summary.json` holds.
    """
    count("epochs", options.epochs, "Pass how many epochs to train.")  # Before anything is built.
    folder = find_folder(options.data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = AntsBees(folder, options.image_size, options.batch_size, options.seed, device)
    torch.manual_seed(options.seed)
    model = resnet(options.depth, options.weights).to(device).to(memory_format=torch.channels_last)
    optimizer = _optimizer(options, model)
    scheduler = SGDR(optimizer, options.T_0, options.T_mult, options.eta_min, steps_per_epoch=data.steps_per_epoch)
    options.output.mkdir(parents=True, exist_ok=True)  # Before the training, so that it is not in vain.
    began = time.perf_counter()
    run = train(
        model,
        optimizer,
        scheduler,
        data.training,
        data.validation,
        epochs=options.epochs,
        on_epoch=lambda row: console.print(_line(row, options.epochs)),
    )
    seconds = time.perf_counter() - began
    rows = cycle_rows(scheduler, run)
    summary = {
        "options": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(options).items()
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "numpy": np.__version__,
        },
        "hardware": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
        },
        "classes": data.classes,
        "seconds": round(seconds, 1),
        "best_epoch": run.best_epoch,
        "best_val_accuracy": None if run.best_epoch is None else run.epochs[run.best_epoch].val_accuracy,
        "cycles": rows,
    }
    with (options.output / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in dataclasses.fields(EpochRow)])
        writer.writerows(dataclasses.astuple(row) for row in run.epochs)
    (options.output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    console.print(_table(rows))
    return summary


def cycle_rows(scheduler: SGDR, run: Training) -> list[dict[str, Any]]:
    """A row per finished cycle: its index, length in epochs, and what the validation after its end gave."""
    rows = []
    step = 0
    # An update past the last cycle still belongs to it, hence the first condition.
    while step < (cycle := scheduler.cycle_at(step)).stop <= len(run.rates):
        step = cycle.stop
        epoch = run.epochs[math.ceil(cycle.stop / scheduler.steps_per_epoch) - 1]
        rows.append(
            {
                "cycle": cycle.index,
                "T_i": float(cycle.length / scheduler.steps_per_epoch),
                "epochs": epoch.epoch + 1,
                "first_rate": run.rates[cycle.first],
                "last_rate": run.rates[cycle.stop - 1],
                "loss": epoch.loss,
                "val_loss": epoch.val_loss,
                "val_accuracy": epoch.val_accuracy,
            }
        )
    return rows


def _optimizer(options: Options, model: nn.Module) -> Optimizer:
    parameters: Any = model.parameters()
    if options.multipliers is not None:
        parameters = rate_groups(model, options.multipliers)
    if options.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=options.eta_max)
    form = KerasSGD if options.momentum_form == "keras" else torch.optim.SGD
    return form(parameters, lr=options.eta_max, momentum=0.9)


def _line(row: EpochRow, epochs: int) -> str:
    return (
        f"epoch {row.epoch + 1:3d}/{epochs}  rate {row.learning_rate:.6f}  loss {row.loss:.4f}  "
        f"val_loss {row.val_loss:.4f}  val_accuracy {row.val_accuracy:.4f}"
    )


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("cycle", "T_i", "epochs run", "loss", "val_loss", "val_accuracy", title="Cycle ends")
    for row in rows:
        numbers = [f"{row[name]:.4f}" for name in ("loss", "val_loss", "val_accuracy")]
        table.add_row(str(row["cycle"]), f"{row['T_i']:g}", str(row["epochs"]), *numbers)
    return table


def main() -> int:
    """Entry point of `python -m torch_reference`: errors in one line. Returns the exit status."""
    # Underscores, so that the flags read as the paper's symbols: --T_0, --eta_max.
    options = tyro.cli(Options, prog="python -m torch_reference", use_underscores=True)
    try:
        finetune(options, Console())
    except (ValueError, OSError, ImportError) as error:
        print(f"torch_reference: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
