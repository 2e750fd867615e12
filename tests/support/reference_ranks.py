"""One of two ranks that train by `torch_reference`: `python -m tests.support.reference_ranks FOLDER RANK`.

Prints the rates of the rank, its losses and a sum of its weights, as JSON. Rank 0 alone saves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from torch_reference.schedulers import SGDR
from torch_reference.training import EpochRow, train

STEPS = 3


def main(folder: Path, rank: int) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # The weights too: they are to be those of rank 0.
    layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    model = DistributedDataParallel(layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = SGDR(optimizer, 1, 2, steps_per_epoch=STEPS)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(STEPS):
            labels = torch.randint(2, (4,))
            yield torch.randn(4, 3, 2, 2) + labels[:, None, None, None], labels

    def save(row: EpochRow) -> None:
        if rank == 0 and scheduler.cycle_at((row.epoch + 1) * STEPS).first == (row.epoch + 1) * STEPS:
            torch.save(layers.state_dict(), folder / f"epoch-{row.epoch + 1}.pth")

    run = train(model, optimizer, scheduler, batches, batches, epochs=7, on_epoch=save)
    weights = [parameter.detach().tolist() for parameter in layers.parameters()]
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    print(json.dumps({"rates": run.rates, "losses": run.losses, "weights": weights}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
