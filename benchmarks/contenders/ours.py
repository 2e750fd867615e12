"""examples/finetune_ants_bees.py with its default settings, but for size, batch, weights and epochs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from benchmarks.contenders.case import Case, contend, turn_callback
from benchmarks.turns import Turns

__all__ = ["example", "train"]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "finetune_ants_bees.py"


def example() -> Any:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    # Dataclasses look their module up.
    module = sys.modules[EXAMPLE.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(case: Case, turns: Turns) -> None:
    module = example()
    options = module.Options(
        data=Path(case.images),
        image_size=case.size,
        batch_size=case.batch,
        weights=case.weights or None,
        epochs=case.epochs,
        output=Path(case.output),
    )
    module.main(options, callbacks=[turn_callback(turns)])


if __name__ == "__main__":
    contend(train)
