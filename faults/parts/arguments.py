"""Arguments at random for everything public that takes some: see `faults.arguments`."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import keras
import matplotlib as mpl

import keras_sgdr.data
from faults.arguments import images, rest, schedules, training
from faults.arguments.target import Target, try_targets
from faults.trials import Settings, Trials

MODULES = ("callbacks", "schedules", "optimizers", "snapshots", "study", "models", "data", "plotting", "range_test")
# Records that the package itself makes, the base class, and what takes nothing but a model, or data for one.
NOT_TRIED = {
    *("Cycle", "CycleEnd", "Plan", "RangeTest", "Report", "Schedule", "Scores", "Snapshot", "SnapshotError"),
    *("Processes", "architecture", "has_finite_weights", "processes_of", "save_weights", "state_dict", "weights_alone"),
    *("put_average", "require_whole_weights"),
}


def trials(settings: Settings) -> Iterator[Trials]:
    mpl.use("Agg")
    numbers = random.Random(settings.seed)
    share = settings.count(1000, 100) / 1000
    # Some of the paths are relative.
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        # What takes long the first time.
        training.fit(keras_sgdr.SGDR(1, 1))
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(keras_sgdr.StepDecay(0.1)))
        groups: dict[str, Sequence[Target]] = {
            "schedules": schedules.TARGETS,
            "methods of schedules": schedules.METHODS,
            "callbacks, optimizers, range test": training.TARGETS,
            "study, snapshots, models, plots": rest.targets(),
            "images": images.targets(),
        }
        require_all([target for targets in groups.values() for target in targets])
        for words, targets in groups.items():
            row = Trials(f"arguments at random: {words}", settings.backend)
            try_targets(row, targets, numbers, share)
            yield row


def require_all(targets: Sequence[Target]) -> None:
    """Raise unless everything public that takes arguments is tried."""
    tried = {id(target.of or target.make) for target in targets}
    modules = [keras_sgdr, *(import_module(f"keras_sgdr.{name}") for name in MODULES), keras_sgdr.data.ants_bees]
    public: dict[str, Any] = {name: getattr(module, name) for module in modules for name in module.__all__}
    forgotten = [
        name
        for name, value in public.items()
        if callable(value) and id(value) not in tried and name not in NOT_TRIED and name != "Mode"
    ]
    if forgotten:
        raise RuntimeError(f"Not tried: {', '.join(forgotten)}.")
