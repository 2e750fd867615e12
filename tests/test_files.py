"""Files are written whole, or an error names them and what was there before stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_sgdr import SGDR, SnapshotCheckpoint, cli
from keras_sgdr._files import replace_file
from tests.support.full_disk import full_disk
from tests.support.small_model import train
from tests.support.snapshots import model
from tests.support.study_nets import point_study

FULL = r"A file must be written whole. Received: '.*{}', which could not be: .*too large.*Make room, or pass another"


@pytest.mark.parametrize("error", [OSError("no"), RuntimeError("no")])
def test_what_was_there_stays(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "a" / "file.txt"
    replace_file(path, lambda unfinished: unfinished.write_text("old"))

    def fail(unfinished: Path) -> None:
        unfinished.write_text("new")
        raise error

    with pytest.raises(OSError, match=r"Received: '.*file.txt', which could not be: no. Make room"):
        replace_file(path, fail)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_run_whose_record_cannot_be_written_names_it(tmp_path: Path) -> None:
    with full_disk(100), pytest.raises(OSError, match=FULL.format(r"step-decay-.*_seed-000.json")):
        point_study(tmp_path, seeds=1).run(progress=False)
    assert point_study(tmp_path, seeds=1).results.empty


@pytest.mark.filterwarnings("ignore:.*val_loss:UserWarning")
def test_predictions_are_written_whole_or_not_at_all(tmp_path: Path, capsys: Any) -> None:
    """NumPy itself leaves a file that ends early, and says nothing."""
    trained = model()
    train(trained, SGDR(1, 1), SnapshotCheckpoint(tmp_path / "snapshots"))
    trained.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=np.ones((500, 3), "float32"))
    options = ["--model", tmp_path / "model.keras", "--data", tmp_path / "data.npz", "-o", tmp_path / "p.npy"]
    command = [str(word) for word in ("ensemble", tmp_path / "snapshots", *options)]
    with full_disk(2000):
        assert cli.main(command) == 2
    assert "p.npy', which could not be" in capsys.readouterr().err
    assert not (tmp_path / "p.npy").exists()
    assert cli.main(command) == 0
    assert len(np.load(tmp_path / "p.npy")) == 500
