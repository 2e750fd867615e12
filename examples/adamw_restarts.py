"""Fine-tunes a ResNet on ants and bees with AdamWR: `python examples/adamw_restarts.py --help`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from examples.finetune_ants_bees import CommonOptions, finetune
from keras_sgdr.optimizers import AdamWR

__all__ = ["Options", "main"]


@dataclass(frozen=True)
class Options(CommonOptions):
    """Fine-tune a ResNet on ants and bees with Adam, warm restarts, and decay normalised by each cycle's length."""

    eta_max: float = 0.0003
    """Learning rate at every restart."""
    lambda_norm: float = 0.025
    """Normalised weight decay; the paper's are 0.025 to 0.05."""
    output: Path = Path("runs", "adamw_restarts")
    """Folder for what the run writes."""


def main(options: Options) -> dict[str, Any]:
    """Fine-tunes as `finetune_ants_bees.py` does and writes what that writes; prints a row of decay a cycle.

    The saved model holds its `AdamWR`, so it loads after `import keras_sgdr.optimizers`.

    Returns:
        What `summary.json` holds.

    Raises:
        ValueError: An option is out of range, or the weights or the folder of images do not fit.
    """
    summary = finetune(options, AdamWR(options.eta_max, options.lambda_norm))
    Console().print(decay_table(summary["cycles"], summary["data"]["steps_per_epoch"], options.lambda_norm))
    return summary


def decay_table(cycles: list[dict[str, Any]], steps_per_epoch: int, lambda_norm: float) -> Table:
    """A row a cycle: its length, and the decay of an update at its restart, `lambda_i`."""
    table = Table("cycle", "T_i", "updates", "lambda_i", box=box.SIMPLE)
    for cycle in cycles:
        updates = cycle["length"] * steps_per_epoch
        decay = f"{lambda_norm / math.sqrt(updates):.2g}"
        table.add_row(str(cycle["index"] + 1), f"{cycle['length']:g}", f"{updates:g}", decay)
    return table


if __name__ == "__main__":
    # Underscores, so that the flags read as the paper's symbols: --T_0, --eta_max.
    main(tyro.cli(Options, use_underscores=True))
