"""The study: schedules compared over many seeds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from keras_sgdr.arguments import is_integer, require
from keras_sgdr.cycles import Schedule
from keras_sgdr.study.frozen import train_heads
from keras_sgdr.study.inputs import Array, order_and_draws
from keras_sgdr.study.packages import load
from keras_sgdr.study.parallel import share_out
from keras_sgdr.study.progress import shown
from keras_sgdr.study.records import Folder, Record, Run
from keras_sgdr.study.results import table_of
from keras_sgdr.study.schedules import compared_schedules
from keras_sgdr.study.trainer import check_model, fingerprint_of, values_of
from keras_sgdr.study.worker import check_fingerprint, work

if TYPE_CHECKING:
    from pandas import DataFrame

    from keras_sgdr.study.tables import Summary

__all__ = ["Study"]


class Study:
    """Trains one model under several learning rate schedules, from many seeds each.

    For a seed, every schedule begins with the same weights and sees the same samples in the same batches, with the same
    crops and flips. Each run is saved when it ends, and `run` does only what is not there: a study that was killed goes
    on where it was, and one that gets more seeds or more schedules keeps what it has.

    Example:

    >>> def model_fn():
    ...     model = resnet(50, "imagenet", classes=2, input_shape=(224, 224, 3), preprocess=True)
    ...     loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ...     model.compile(keras.optimizers.SGD(momentum=0.9), loss=loss)
    ...     return model
    >>> study = Study(model_fn, ants_bees.load_data(), seeds=5, epochs=30, folder="runs/study")
    >>> study.run(jobs=2)
    >>> print(study.summary())

    Args:
        model_fn: Builds and compiles a model, and takes its random numbers from Keras's seed: each run begins with the
            weights it makes after `keras.utils.set_random_seed(seed)`. Optimizer and loss are the compiled ones; the
            learning rate is replaced, and the metrics are always loss and accuracy. The model takes images as float32
            in 0..255. For parallel runs it must be picklable (cloudpickle).
        data: `(x, y), (x_val, y_val)`, arrays, kept on the device. Images are best uint8, `(N, height, width,
            channels)`; those for training may be larger than those for validation.
        schedules: By the names that figures show; anything with the interface of `WarmRestarts`. The first is the
            baseline. None takes `compared_schedules(eta_max, epochs)`.
        seeds: A number `n` for the seeds 0 to `n - 1`, or a list of them.
        epochs: Epochs of each run.
        batch_size: Training samples in a batch. An epoch's last batch may be smaller.
        eta_max: Learning rate with which the default schedules begin.
        initialize: Called with a run's model and its seed to change the weights before training, such as
            `lambda model, seed: randomize_modules(model, 40, seed)`.
        augment: Makes a batch of training samples, and uniform random numbers of shape `(batch, DRAWS)`, into what the
            model takes, by `keras.ops`. None: images are cropped at random, resized and mirrored (see
            `resized_crop_flip`), anything else stays as it is.
        prepare: The same for validation samples, without random numbers. None: images are cropped to the centre.
        frozen: Whether to train the last layer alone, a `Dense`, from weights that it draws anew for each seed. The
            features of all samples are computed once, without augmentation (images are cropped to the centre), and the
            heads of all seeds and schedules are trained together. Not on the PyTorch backend.
        folder: Where the runs are kept. On a cluster, all machines must see it under this name.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        model_fn: Callable[[], keras.Model],
        data: tuple[tuple[Any, Any], tuple[Any, Any]],
        schedules: Mapping[str, Schedule] | None = None,
        *,
        seeds: int | Sequence[int] = 20,
        epochs: int = 100,
        batch_size: int = 4,
        eta_max: float = 0.001,
        initialize: Callable[[keras.Model, int], Any] | None = None,
        augment: Callable[[Any, Any], Any] | None = None,
        prepare: Callable[[Any], Any] | None = None,
        frozen: bool = False,
        folder: str | os.PathLike[str] = "runs/study",
    ) -> None:
        for name, value in (("epochs", epochs), ("batch_size", batch_size)):
            rule = f"`{name}` must be a positive integer."
            require(is_integer(value), rule, name, value, f"Pass a number, such as {name}=10.")
        self.model_fn, self.initialize, self.augment, self.prepare = model_fn, initialize, augment, prepare
        self.data = _checked_data(data)
        self.schedules = _checked_schedules(compared_schedules(eta_max, epochs) if schedules is None else schedules)
        self.seeds = _checked_seeds(seeds)
        self.epochs, self.batch_size = int(epochs), int(batch_size)
        require(
            not frozen or (initialize is None and augment is None),
            "With a frozen backbone, the samples are seen once as they are, and only the head is new for each seed.",
            "(initialize, augment)",
            (initialize, augment),
            "Leave both out, or train all of the model: frozen=False.",
        )
        self.frozen = bool(frozen)
        self.folder = Folder(folder)
        # By which a worker knows that it has built this study's model.
        self.token = uuid.uuid4().hex

    @property
    def steps(self) -> int:
        """Updates in an epoch."""
        return -(-len(self.data[0][0]) // self.batch_size)

    def batches(self, seed: int, epoch: int) -> tuple[Array, Array]:
        """The order of the training samples in an epoch (from 0), and the random numbers behind crops and flips.

        Returns:
            int32 of shape `(samples,)` and float32 of shape `(samples, DRAWS)`, the same under every schedule.
        """
        return order_and_draws(seed, epoch, len(self.data[0][0]))

    def build(self, seed: int) -> keras.Model:
        """A model with the weights from which the seed's runs begin. Sets the global random seed.

        Raises:
            ValueError: If the model is not one that a study can train, or its weights are no function of the seed.
        """
        before: list[Array] | None = None
        # Twice, to see that the seed decides; more often only where another thread, such as one of Dask's, has drawn
        # from the process's random numbers meanwhile.
        for _ in range(4):
            keras.utils.set_random_seed(seed)
            model = self.model_fn()
            check_model(model)
            if self.initialize is not None:
                self.initialize(model, seed)
            weights = values_of(model.variables)
            if before is not None and all(map(np.array_equal, before, weights)):
                return model
            before = weights
        raise ValueError(
            "`model_fn` and `initialize` must make the same weights whenever they are called with a seed. "
            f"Received: model_fn={self.model_fn!r} and initialize={self.initialize!r}, whose weights differ each time "
            f"with seed {seed}. Take all random numbers from Keras's seed, or from the one that `initialize` is given."
        )

    def initial_weights(self, seed: int) -> list[Array]:
        """The values of `model.variables` from which the seed's runs begin, the same under every schedule."""
        return values_of(self.build(seed).variables)

    @property
    def runs(self) -> list[Run]:
        """All runs, seed by seed."""
        return [Run(schedule, seed) for seed in self.seeds for schedule in self.schedules]

    def run(self, jobs: int = 1, parallel: Literal["loky", "ray", "dask"] = "loky", progress: bool = True) -> None:
        """Do the runs that the folder does not have yet. Those that failed before are tried again.

        A run that raises is kept in `failures`, and the others go on. In this process each run sets the global random
        seed.

        Args:
            jobs: Runs at a time, each in a process of its own; 1 for one after another in this process. With GPUs, the
                processes take them in turn. Heads on a frozen backbone are trained together, here.
            parallel: Who runs them: loky on this machine, or Ray or Dask, also on a cluster if one is connected
                (`ray.init(address=...)`, `dask.distributed.Client(...)`). All its machines must see the folder.
            progress: Whether to show the runs done and running, and the time left.

        Raises:
            ValueError: If the folder holds runs of another study, or the model is not one that a study can train.
        """
        require(is_integer(jobs), "`jobs` must be a positive integer.", "jobs", jobs, "Pass how many runs at a time.")
        records = self._records()
        done = {record.run for record in records}
        missing = [run for run in self.runs if run not in done]
        fingerprint = records[0].fingerprint if records else None
        if not missing:
            check_fingerprint(fingerprint_of(self.build(0)), self, fingerprint)
            return
        self.folder.tidy(missing)
        jobs = len(missing) if self.frozen else min(jobs, len(missing))
        with shown(self.folder, missing, jobs) if progress else contextlib.nullcontext():
            if self.frozen:
                train_heads(self, missing, fingerprint)
            elif jobs == 1:
                work(self, missing, fingerprint)
            else:
                share_out(self, missing, fingerprint, jobs, parallel)
        failed = self.folder.count(missing)[1]
        if failed:
            warnings.warn(
                f"{failed} of {len(missing)} runs failed: see `study.failures`.", RuntimeWarning, stacklevel=2
            )

    @property
    def results(self) -> DataFrame:
        """The runs that are done: a row a schedule, seed and epoch, in the order of the schedules, seeds and epochs.

        Columns: `schedule`, its name; `seed`; `epoch`, the epochs completed, from 1; `rate`, the learning rate of the
        epoch's last update; `loss`, `accuracy`, `val_loss`, `val_accuracy`, NaN where they were not finite; `cycle`,
        from 0, of the epoch's last update; `cycle_end`, whether a cycle ends with the epoch.
        """
        seeds = set(self.seeds)
        records = [record for record in self._records() if record.seed in seeds]
        return table_of(records, self.schedules, self.epochs, self.steps)

    @property
    def failures(self) -> DataFrame:
        """The runs that failed: `schedule`, `seed`, `traceback`."""
        runs = set(self.runs)
        rows = [(run.schedule, run.seed, text) for run, text in self.folder.failures() if run in runs]
        return load("pandas").DataFrame(rows, columns=["schedule", "seed", "traceback"])

    def summary(self, **options: Any) -> Summary:
        """What the runs say, with intervals: see `keras_sgdr.study.statistics.summarize`, also for the options."""
        from keras_sgdr.study.statistics import summarize

        return summarize(self.results, **options)

    def figures(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Draw the study's figures into a folder: see `keras_sgdr.study.figures.draw`. Returns the files."""
        from keras_sgdr.study.figures import draw

        return draw(self.results, self.schedules, Path(folder), self.epochs)

    def settings(self, schedule: str) -> dict[str, Any]:
        """What a schedule is, as JSON: by it a folder's runs are known again."""
        chosen: Any = self.schedules[schedule]
        config = chosen.get_config() if hasattr(chosen, "get_config") else repr(chosen)
        return json.loads(json.dumps({"class": type(chosen).__name__, "config": config}))

    @cached_property
    def shared(self) -> dict[str, Any]:
        """What all runs of this study share, as JSON."""
        digest = hashlib.sha256()
        for array in (array for split in self.data for array in split):
            digest.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "data": digest.hexdigest()[:16],
            "backend": keras.config.backend(),
            "frozen": self.frozen,
        }

    def _records(self) -> list[Record]:
        """The runs in the folder, of this study's schedules and others.

        Raises:
            ValueError: If they are of another study.
        """
        records = self.folder.records()
        for record in records:
            theirs, ours = dict(record.study), dict(self.shared)
            if record.schedule in self.schedules:
                theirs[record.schedule], ours[record.schedule] = record.settings, self.settings(record.schedule)
            theirs["model"], ours["model"] = record.fingerprint, records[0].fingerprint
            differing = [name for name in ours if ours[name] != theirs.get(name)]
            if differing:
                name = differing[0]
                raise ValueError(
                    "A folder holds the runs of one study, with the same epochs, batch size, data, backend, model and "
                    f"schedules. Received: folder={str(self.folder.path)!r}, whose runs have {name}="
                    f"{theirs.get(name)!r}, and a study with {name}={ours[name]!r}. Pass another `folder`."
                )
        return records


def _checked_data(data: Any) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    rule = "`data` must be `(x, y), (x_val, y_val)`: arrays, with a label for each sample, at least one of either."
    fix = "Pass what `ants_bees.load_data()` returns, or arrays like it."
    shapes: Any
    try:
        splits = [tuple(np.asarray(array) for array in split) for split in data]
        shapes = [tuple(array.shape for array in split) for split in splits]
        valid = [len(split) for split in splits] == [2, 2] and all(len(x) == len(y) > 0 for x, y in splits)
    except (TypeError, ValueError):
        shapes, valid = type(data).__name__, False
    require(valid, rule, "shapes of data", shapes, fix)
    floats = keras.config.floatx()
    train, val = ((x.astype(floats) if x.dtype.kind == "f" else x, y) for x, y in splits)
    return train, val


def _checked_schedules(schedules: Any) -> dict[str, Schedule]:
    valid = isinstance(schedules, Mapping) and len(schedules) > 0
    valid = valid and all(
        isinstance(name, str) and name and hasattr(one, "learning_rates") for name, one in schedules.items()
    )
    rule = "`schedules` must be a dict of schedules by name, at least one."
    require(
        valid, rule, "schedules", schedules, 'Pass {"SGDR (10, 2)": WarmRestarts(10, 2, eta_max=0.01)} or the like.'
    )
    return dict(schedules)


def _checked_seeds(seeds: Any) -> list[int]:
    listed = range(seeds) if is_integer(seeds) else seeds
    valid = isinstance(listed, Sequence | np.ndarray) and len(listed) > 0 and len(set(listed)) == len(listed)
    valid = valid and all(is_integer(seed, 0) and seed < 2**32 for seed in listed)
    rule = "`seeds` must be a positive integer, or a list of different seeds, each from 0 to 2**32 - 1."
    require(valid, rule, "seeds", seeds, "Pass seeds=20 for the seeds 0 to 19.")
    return sorted(int(seed) for seed in listed)
