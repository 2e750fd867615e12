"""One of two processes of `torch.distributed`: `python -m tests.support.torch_processes FOLDER RANK`.

Prints what the process knows of the snapshots at the end, as JSON, and why another run in the folder is refused.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import keras
import torch.distributed

from keras_sgdr import SGDR
from keras_sgdr.callbacks import SnapshotCheckpoint
from tests.support.small_model import small_data, small_model, train
from tests.support.snapshots import Judge


def main(folder: Path, rank: int) -> None:
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    keeper = SnapshotCheckpoint(folder / "snapshots", keep=("best", 2))
    # Each process has validated on other data, and would keep others.
    judge = Judge([1, 4, 3, 2] if rank == 0 else [4, 1, 2, 3])
    model = small_model(keras.optimizers.SGD(0.1))
    # As in many a script, only rank 0 validates.
    validation = small_data() if rank == 0 else None
    train(model, SGDR(1, 1), judge, keeper, epochs=4, validation_data=validation)
    described: dict[str, Any] = {
        "cycles": [(each.cycle, each.metrics["val_loss"]) for each in keeper._manifest.snapshots],
        "saved": sorted(keeper._saved),
    }
    try:
        train(model, SGDR(1, 1), SnapshotCheckpoint(folder / "snapshots"), epochs=1)
    except ValueError as error:
        described["error"] = str(error)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    print(json.dumps(described))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
