"""The study, the models, the data, the pictures and the snapshots."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib import pyplot
from PIL import Image

from faults.arguments.schedules import DECAY, LENGTHS, SCHEDULE, SHORT, check_rates
from faults.arguments.target import FLAGS, Target, Used
from faults.arguments.training import fit, folder, samples, small_model
from faults.trials import Fault
from keras_sgdr import SGDR, RangeTest, SnapshotCheckpoint, SnapshotEnsemble
from keras_sgdr.data import ants_bees, batches, center_crop, drawn_insects, random_resized_crop_flip
from keras_sgdr.models import load_state_dict, randomize_modules, resnet, state_dict
from keras_sgdr.plotting import plot_ensemble, plot_history, plot_learning_rate, plot_range_test
from keras_sgdr.snapshots import Manifest, higher_is_better, scores
from keras_sgdr.study import Study, compared_schedules, tuning_schedules

__all__ = ["targets"]

SEEDS = (0, 1, np.int64(2))
IMAGES = np.random.default_rng(0).integers(256, size=(5, 12, 14, 3), dtype="uint8")
LABELS = np.array([0, 1, 0, 1, 1])
# What is no batch of images.
NO_IMAGES = (IMAGES[0], IMAGES[:0], IMAGES[..., 0], IMAGES[:, :0], [], None, 0)
NO_NUMBERS = (IMAGES.astype("O"), IMAGES.astype("U"))  # A crop leaves these to the backend.
SIZES = (8, 12, np.int64(10))


@cache
def snapshots() -> Path:
    """A folder of three snapshots of the small model."""
    written = folder()
    fit(SGDR(1, 1), SnapshotCheckpoint(written))
    return written


@cache
def images_in_folders() -> Path:
    """A folder of an image of each kind."""
    root = folder()
    for index, name in enumerate(("train/ants", "train/bees", "val/ants", "val/bees")):
        (root / name).mkdir(parents=True)
        Image.fromarray(IMAGES[index]).save(root / name / "0.png")
    os.environ["ANTS_BEES_DIR"] = str(root)  # Nothing is to be downloaded.
    return root


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


def use_batches(used: Used) -> None:
    data = used.made
    for index in range(len(data)):
        x, y = data[index]
        if len(x) != len(y) or not np.isfinite(keras.ops.convert_to_numpy(x)).all():
            raise Fault("wrong", f"a batch of {len(x)} images and {len(y)} labels")
    data.on_epoch_end()


def use_images(used: Used) -> None:
    images = keras.ops.convert_to_numpy(used.made)
    size = int(used.given["size"])
    if images.shape[1:3] != (size, size) or images.min(initial=0) < -1e-3 or images.max(initial=0) > 255.1:
        raise Fault("wrong", f"shape {images.shape}, from {images.min(initial=0)} to {images.max(initial=0)}")


def use_drawn(used: Used) -> None:
    (x, y), (x_val, y_val) = used.made[-2:]
    if len(x) != len(y) or len(x_val) != len(y_val) or x.dtype != "uint8":
        raise Fault("wrong", f"shapes {x.shape}, {y.shape}, {x_val.shape}, {y_val.shape}")


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
    directories = (images_in_folders(), str(images_in_folders()))
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
    pictures = {"size": SIZES, "images": (IMAGES, IMAGES.astype("float32") / 2, IMAGES[:1])}
    cropping = {"seed": (0, 3), "scale": ((0.08, 1.0), (1, 1)), "ratio": ((3 / 4, 4 / 3), (1, 1))}
    no_images = {"images": NO_IMAGES, "x": NO_IMAGES + NO_NUMBERS, "y": (LABELS[:2], [], None)}
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
            {"outputs": (np.full((5, 2), 0.5), np.full((5, 1), 0.5)), "labels": (LABELS, LABELS[:, None])},
            40,
            odd={"outputs": (np.ones(5), np.ones((4, 2))), "labels": (LABELS[:3], LABELS + 0.5, LABELS - 9)},
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
        Target("ants_bees.load_data", ants_bees.load_data, {"path": directories, "image_size": SIZES}, 60, use_drawn),
        Target(
            "ants_bees.load_or_draw",
            ants_bees.load_or_draw,
            {"path": directories, "image_size": SIZES, "seed": SEEDS},
            30,
            use_drawn,
        ),
        Target("ants_bees.find", ants_bees.find, {"path": directories}, 30),
        Target(
            "drawn_insects",
            drawn_insects,
            {"n_train": (2, 0), "n_val": (2, 1), "image_size": SIZES, "seed": SEEDS},
            80,
            use_drawn,
        ),
        Target(
            "batches",
            batches,
            {
                "x": (IMAGES,),
                "y": (LABELS,),
                "batch_size": (2, 5, np.int64(4)),
                "image_size": SIZES,
                "training": (True, False),
                "seed": SEEDS,
                "one_shape": (True, False),
                "on_device": (None, False, True),
            },
            120,
            use_batches,
            {**no_images, **dict.fromkeys(("training", "one_shape", "on_device"), FLAGS)},
        ),
        Target("center_crop", center_crop, pictures, 60, use_images, no_images),
        Target(
            "random_resized_crop_flip", random_resized_crop_flip, {**pictures, **cropping}, 80, use_images, no_images
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
