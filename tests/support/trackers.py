"""What trackers have stored of the recipes of docs/guide/trackers.md.

`python -m tests.support.trackers PAGE` runs the page in the present folder, and what it says beside its blocks.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_sgdr import SGDR
from tests.support.pages import run_page

__all__ = ["FOLDS", "in_mlflow", "in_tensorboard", "in_wandb"]

FOLDS = "folds.json"
"""What scikit-learn has trained: the rates of each fold, and of the best of a search."""
Values = dict[str, list[tuple[int, Any]]]
"""By name, pairs of a step and a value."""


def in_tensorboard(folder: Path) -> Values:
    """The scalars of a folder of event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if "learning_rate" in tag
    }


def in_mlflow(database: Path) -> list[tuple[dict[str, str], Values]]:
    """The parameters and the metrics of each run, in the order of the runs."""
    runs = []
    with contextlib.closing(sqlite3.connect(database)) as store:
        for (run,) in store.execute("SELECT run_uuid FROM runs ORDER BY start_time").fetchall():
            metrics = defaultdict(list)
            for name, *pair in store.execute(
                "SELECT key, step, value FROM metrics WHERE run_uuid = ? ORDER BY step", [run]
            ):
                metrics[name].append((pair[0], pair[1]))
            runs.append((dict(store.execute("SELECT key, value FROM params WHERE run_uuid = ?", [run])), dict(metrics)))
    return runs


def in_wandb(file: Path) -> list[dict[str, Any]]:
    """What was logged at each call, in the file of a run that is offline."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = []
    for content in _records_of_log(file.read_bytes()):
        record = Record()
        record.ParseFromString(content)
        items = record.history.item
        if items:
            found.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return found


def _records_of_log(log: bytes, header: int = 7, block: int = 1 << 15) -> Iterator[bytes]:
    """The records of a file in LevelDB's format of logs, in which W&B writes: blocks of chunks, of which one record may
    need several. Before each chunk come a checksum, its length, and whether it is whole (1), a first, a middle or the
    last part (4). The file begins with a header of the same length.
    """
    at, record = header, b""
    while at + header < len(log):
        if block - at % block < header:
            at += block - at % block
            continue
        length, kind = int.from_bytes(log[at + 4 : at + 6], "little"), log[at + 6]
        record += log[at + header : at + header + length]
        at += header + length
        if kind in (1, 4):
            yield record
            record = b""


def _run(page: Path) -> None:
    names = run_page(page)
    folds, search = names["folds"], names["search"]
    chosen, trained = search.best_params_["callbacks"][0].get_config(), search.best_estimator_.callbacks[0]
    stored = {
        "folds": [fold.callbacks[0].rates.tolist() for fold in folds["estimator"]],
        "best": {"T_0": chosen["T_0"], "T_mult": chosen["T_mult"], "rates": trained.rates.tolist()},
        "candidates": [each["callbacks"][0].get_config()["T_0"] for each in search.cv_results_["params"]],
    }
    Path(FOLDS).write_text(json.dumps(stored))
    data = names["x"], names["y"]

    optuna = names["optuna"]
    always = optuna.pruners.ThresholdPruner(upper=0)
    study = optuna.load_study(study_name="SGDR", storage="sqlite:///optuna.db", pruner=always)
    study.optimize(names["objective"], n_trials=1)

    names["mlflow"].keras.autolog(log_models=False)
    names["compiled"]().fit(*data, epochs=6, callbacks=[SGDR(T_0=2, T_mult=2)], verbose=0)
    names["mlflow"].keras.autolog(disable=True)

    with names["wandb"].init(project="batches", mode="offline"):
        callbacks = [SGDR(T_0=2, T_mult=2), names["WandbMetricsLogger"](log_freq="batch")]
        names["compiled"]().fit(*data, epochs=6, callbacks=callbacks, verbose=0)


if __name__ == "__main__":
    keras.utils.disable_interactive_logging()
    _run(Path(sys.argv[1]))
