from __future__ import annotations

from pathlib import Path

from tests.study.nets import EPOCHS, image_study


def test_the_table_has_a_row_a_schedule_seed_and_epoch(tmp_path: Path) -> None:
    study = image_study(tmp_path)
    study.run(progress=False)
    results = study.results
    assert list(results) == [
        "schedule", "seed", "epoch", "rate", "loss", "accuracy", "val_loss", "val_accuracy", "cycle", "cycle_end"
    ]  # fmt: skip
    rows = [(name, seed, epoch) for name in study.schedules for seed in (0, 1) for epoch in range(1, EPOCHS + 1)]
    assert list(results[["schedule", "seed", "epoch"]].itertuples(index=False, name=None)) == rows
    assert results["cycle_end"].sum() == 2  # Of the one cosine, at the end of either seed.
