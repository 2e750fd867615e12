"""The study, the snapshots, the models and the plots."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib import pyplot

from faults.arguments.schedules import DECAY, LENGTHS, SCHEDULE, SHORT, check_rates
from faults.arguments.target import FLAGS, Target, Used
from faults.arguments.training import fit, folder, samples, small_model
from faults.trials import Fault
from keras_sgdr import SGDR, RangeTest, SnapshotCheckpoint, SnapshotEnsemble
from keras_sgdr.models import load_state_dict, randomize_modules, resnet, state_dict
from keras_sgdr.plotting import (
    plot_ensemble,
    plot_history,
    plot_learning_rate,
    plot_range_test,
    plot_run,
    plot_schedules,
)
from keras_sgdr.snapshots import Manifest, higher_is_better, scores
from keras_sgdr.study import Study, compared_schedules, tuning_schedules

__all__ = ["targets"]

SEEDS = (0, 1, np.int64(2))


@cache
def snapshots() -> Path:
    """A folder of three snapshots of the small model."""
    written = folder()
    fit(SGDR(1, 1), SnapshotCheckpoint(written))
    return written


@cache
def network() -> Any:
    """A model of two modules."""
    layers = [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")]
    return keras.Sequential(layers)


def load_ensemble(select: Any, n_members: Any, weights: Any, from_logits: Any, batch_size: Any) -> None:
    """Load an ensemble of the small model, and predict."""
    x, y = samples()
    options = {"weights": weights, "from_logits": from_logits, "data": (x, y), "batch_size": batch_size}
    ensemble = SnapshotEnsemble.load(snapshots(), small_model(), select, n_members, **options)
    str(ensemble.report(x, y, batch_size))
    predicted = ensemble.predict(x, batch_size)
    if not np.isfinite(predicted).all() or (ensemble.from_logits and not np.allclose(predicted.sum(1), 1, atol=1e-5)):
        raise Fault("wrong", f"predictions {predicted}, shares {ensemble.shares}")


def use_study(used: Used) -> None:
    """Look at a study that was constructed, of which nothing is run."""
    study: Study = used.made
    for name, schedule in study.spec.schedules.items():
        study.spec.schedule_settings(name)
        study.spec.ends_of_cycles(name)
        rates = schedule.learning_rates(min(study.spec.epochs, 3), 4)
        if not np.isfinite(rates).all():
            raise Fault("wrong", f"rates {rates}")
    # The file of a run that is not there: a name that no disk takes would tell here.
    for run in study.store.runs[:8]:
        (study.store.folder / f"{run.file}.json").exists()
        if len(os.fsencode(run.file)) > 200:
            raise Fault("wrong", f"a file's name of {len(run.file)} letters")


def use_schedules(used: Used) -> None:
    for schedule in used.made.values():
        check_rates(schedule.learning_rates(3, 4), schedule)


def use_axes(used: Used) -> None:
    pyplot.close(used.made.figure)


def use_model(used: Used) -> None:
    if not used.made.built or used.made.output_shape[-1] != used.given.get("classes", 1000):
        raise Fault("wrong", f"{used.made.output_shape}")


def targets() -> list[Target]:
    """What is tried; the first call makes the files that some of them read."""
    report = SnapshotEnsemble.load(snapshots(), small_model()).report(*samples())
    curve = np.geomspace(1e-4, 1, 5)
    result = RangeTest(curve, curve[::-1], curve, curve[::-1], 0.1, None, "end")
    history = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 2.5, 2.0]}
    axes = {"ax": (None,)}
    no_axes = {"ax": (None,), "log": FLAGS}
    named = {"one": SCHEDULE, "other": DECAY}
    data = samples(), samples()
    functions = (None, lambda *values: None)
    study = {
        "model_fn": (small_model,),
        "data": (data, [list(part) for part in data]),
        "schedules": (None, named, {"a" * 300: SHORT}),
        "seeds": (1, 3, [0, 5], np.arange(3), range(2)),
        "epochs": (1, 3, np.int64(10)),
        "batch_size": (1, 4, np.int64(32)),
        "eta_max": (0.001, 1),
        "initialize": functions,
        "augment": functions,
        "prepare": functions,
        "frozen": (False, True),
        "keep_outputs": (False, True),
        "folder": ("runs/study", Path("runs")),
    }
    labels = np.array([0, 1, 0, 1, 1])
    two = (network(),)
    return [
        Target("Study", Study, study, 300, use_study, {"frozen": FLAGS, "keep_outputs": FLAGS}),
        Target(
            "compared_schedules",
            compared_schedules,
            {"eta_max": (0.1, 1), "epochs": (1, 10, 100), "T_0": LENGTHS["T_0"][:-1], "T_mult": LENGTHS["T_mult"]},
            120,
            use_schedules,
        ),
        Target(
            "tuning_schedules",
            tuning_schedules,
            {"eta_max": (0.1, 1), "settings": ([(1, 2)], [(10, 2), ("1/3", 1)], ((0.5, 1.5),))},
            80,
            use_schedules,
        ),
        Target(
            "SnapshotEnsemble.load",
            load_ensemble,
            {
                "select": ("all", "last", "best", "greedy"),
                "n_members": (None, 1, 2, np.int64(1)),
                "weights": (None, [1, 2], np.array([0.5, 0.5]), [1.0]),
                "from_logits": (None, True, False),
                "batch_size": (4, 32, np.int64(5)),
            },
            100,
            odd={"from_logits": FLAGS},
            of=SnapshotEnsemble,
        ),
        Target(
            "Manifest",
            Manifest,
            {
                **dict.fromkeys(("schedule",), ("",)),
                "directory": ("a", Path("b")),
                "snapshots": ([],),
                "monitor": ("val_loss",),
                "mode": ("auto", "max"),
                "ended": (0,),
            },
            60,
            odd={"schedule": ("",), "snapshots": ([],), "ended": (0,)},
        ),
        Target("Manifest.read", Manifest.read, {"directory": (snapshots(), str(snapshots()))}, 30),
        Target("higher_is_better", higher_is_better, {"metric": ("loss", "acc"), "mode": ("auto", "min")}, 60),
        Target(
            "scores",
            scores,
            {"outputs": (np.full((5, 2), 0.5), np.full((5, 1), 0.5)), "labels": (labels, labels[:, None])},
            40,
            odd={"outputs": (np.ones(5), np.ones((4, 2))), "labels": (labels[:3], labels + 0.5, labels - 9)},
        ),
        Target(
            "randomize_modules",
            randomize_modules,
            {"model": two, "n": (1, 2, np.int64(1)), "seed": SEEDS},
            60,
            odd={"model": two},
        ),
        Target(
            "load_state_dict",
            load_state_dict,
            {"model": two, "source": (state_dict(network()),)},
            60,
            odd={"model": two},
        ),
        Target(
            "resnet",
            partial(resnet),
            {
                "depth": (50,),
                "weights": (None,),
                "classes": (2,),
                "input_shape": ((32, 32, 3),),
                "preprocess": (False, True),
            },
            60,
            use_model,
            {"preprocess": FLAGS},
            resnet,
        ),
        Target(
            "plot_learning_rate",
            plot_learning_rate,
            {
                **axes,
                "schedules": (SCHEDULE, named),
                "epochs": (1, 20),
                "steps_per_epoch": (1, 100),
                "log": (False, True),
            },
            100,
            use_axes,
            no_axes,
        ),
        Target(
            "plot_schedules",
            plot_schedules,
            {"schedules": (named,), "epochs": (1, 20), "steps_per_epoch": (1, 100), "log": (False, True)},
            60,
            odd={"log": FLAGS},
        ),
        Target(
            "plot_history",
            plot_history,
            {
                **axes,
                "history": (history,),
                "metrics": (("loss",), ["loss", "val_loss"]),
                "cycle_ends": ((), [1, 2], [1.5]),
            },
            60,
            use_axes,
            {**no_axes, "history": (history, {}, {"loss": []})},
        ),
        Target(
            "plot_run",
            plot_run,
            {
                "history": (history | {"accuracy": [0.5, 0.6, 0.7], "val_accuracy": [0.5, 0.6, 0.6]},),
                "schedule": (SCHEDULE, DECAY),
                "epochs": (1, 3),
                "steps_per_epoch": (1, 100),
            },
            60,
            odd={"history": (history, {}, {"loss": []})},
        ),
        Target(
            "plot_range_test",
            plot_range_test,
            {**axes, "result": (result,)},
            2,
            use_axes,
            {**no_axes, "result": (result,)},
        ),
        Target(
            "plot_ensemble",
            plot_ensemble,
            {**axes, "report": (report,), "score": ("loss", "accuracy")},
            30,
            use_axes,
            {**no_axes, "report": (report,)},
        ),
    ]
