"""What a process does for a study: build its model once, and train one run after another."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_sgdr.study.records import Record, Run
from keras_sgdr.study.trainer import Trainer

if TYPE_CHECKING:
    from keras_sgdr.study.study import Study

__all__ = ["check_fingerprint", "trainer_of", "work"]

# The last study's: its model is in the device's memory.
_built: dict[str, Trainer] = {}
# A Dask worker may have several threads, and there is one model.
_lock = threading.RLock()


def trainer_of(study: Study) -> Trainer:
    """The trainer of a study, which is built once in a process."""
    if study.token not in _built:
        _built.clear()
        _built[study.token] = Trainer(study)
    return _built[study.token]


def check_fingerprint(ours: str, study: Study, theirs: str | None) -> None:
    """Raise unless the folder's runs, if there are any, are of this model."""
    if theirs not in (None, ours):
        raise ValueError(
            "A folder holds the runs of one study, with the same weights at each seed, optimizer and loss. "
            f"Received: folder={str(study.folder.path)!r}, whose runs have a model with the digest {theirs}, and a "
            f"model with {ours}. Pass another `folder`, or take the random numbers of `model_fn` and "
            "`initialize` from the seed alone."
        )


def work(study: Study, runs: Sequence[Run], fingerprint: str | None) -> None:
    """Train these runs and save each when it ends, or its traceback when it raises.

    Raises:
        ValueError: If the folder's runs are of another model.
    """
    with _lock:
        check_fingerprint(trainer_of(study).fingerprint, study, fingerprint)
        for run in runs:
            trainer = trainer_of(study)
            try:
                metrics, seconds = trainer.run(study.schedules[run.schedule], run.seed)
            except Exception:
                study.folder.write_failure(run, traceback.format_exc())
                _built.clear()  # What an exception leaves of a compiled step on JAX cannot be used again.
                continue
            study.folder.write(Record.of(study, run, trainer.fingerprint, seconds, metrics))
