"""Snapshots of the weights at the ends of cycles, and ensembles of them."""

from keras_sgdr.snapshots.ensemble import SnapshotEnsemble
from keras_sgdr.snapshots.manifest import FILES, MANIFEST, Manifest
from keras_sgdr.snapshots.model_weights import (
    architecture,
    has_finite_weights,
    put_average,
    save_weights,
    weights_alone,
)
from keras_sgdr.snapshots.processes import Processes, processes_of, require_whole_weights
from keras_sgdr.snapshots.scores import Mode, Report, Scores, higher_is_better, scores
from keras_sgdr.snapshots.snapshot import SUFFIX, Snapshot, SnapshotError

__all__ = [
    "FILES",
    "MANIFEST",
    "SUFFIX",
    "Manifest",
    "Mode",
    "Processes",
    "Report",
    "Scores",
    "Snapshot",
    "SnapshotEnsemble",
    "SnapshotError",
    "architecture",
    "has_finite_weights",
    "higher_is_better",
    "processes_of",
    "put_average",
    "require_whole_weights",
    "save_weights",
    "scores",
    "weights_alone",
]
