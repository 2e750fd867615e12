"""The study: schedules compared over many seeds."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_sgdr._checks import integer, one_of, positive
from keras_sgdr._optional import load
from keras_sgdr.schedules import Schedule
from keras_sgdr.study.compared import compared_schedules
from keras_sgdr.study.execution import execute
from keras_sgdr.study.results.figures import draw
from keras_sgdr.study.results.report import Summary, summarize
from keras_sgdr.study.results.tables import ensembles_table, results_table
from keras_sgdr.study.spec import Spec, fingerprint_of
from keras_sgdr.study.store import Store
from keras_sgdr.study.workers import PARALLEL, Parallel

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Study"]


class Study:
    """Trains one model under several learning rate schedules, from many seeds each.

    For a seed, every schedule begins with the same weights and sees the same samples in the same batches, with the same
    crops and flips. Each run is saved when it ends, and `run` trains only what is missing: a study that was killed
    goes on where it was, and one that gets more seeds or more schedules keeps what it has.

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
        schedules: By the names that figures show; each a `Schedule`. The first is the baseline. Where its lengths
            depend on `fit` (`WarmRestarts(T_0=None)`), the epochs of a run decide; `eta_max=None` is refused. None
            takes `compared_schedules(eta_max, epochs)`.
        seeds: A number `n` for the seeds 0 to `n - 1`, or a list of them.
        epochs: Epochs of each run.
        batch_size: Training samples in a batch. An epoch's last batch may be smaller.
        eta_max: Learning rate with which the default schedules begin.
        initialize: Called with a run's model and its seed to change the weights before training, such as
            `lambda model, seed: randomize_modules(model, 40, seed)`.
        augment: Maps a batch of training samples, and uniform random numbers of shape `(batch, DRAWS)`, to the model's
            inputs, by `keras.ops`. None: images are cropped at random, resized and mirrored (see
            `resized_crop_flip`), anything else stays as it is.
        prepare: The same for validation samples, without random numbers. None: images are cropped to the centre.
        frozen: Whether to train the last layer alone, a `Dense`, from weights that it draws anew for each seed. The
            features of all samples are computed once, without augmentation (images are cropped to the centre), and the
            heads of all seeds and schedules are trained together. Not on the PyTorch backend.
        keep_outputs: Whether to keep what the model makes of the validation samples at ends of cycles and after the
            last epoch: it says what ensembles of a run's cycle ends are worth (`ensembles`). Not with `frozen`.
        folder: Where the runs are kept. On a cluster, all machines must see it under this name.

    Attributes:
        spec: What is trained.
        store: The runs on disk.

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
        keep_outputs: bool = False,
        folder: str | os.PathLike[str] = "runs/study",
    ) -> None:
        self.spec = Spec(
            model_fn,
            data,
            compared_schedules(eta_max, epochs) if schedules is None else schedules,
            seeds=seeds,
            epochs=epochs,
            batch_size=batch_size,
            initialize=initialize,
            augment=augment,
            prepare=prepare,
            frozen=frozen,
            keep_outputs=keep_outputs,
        )
        self.store = Store(folder, self.spec)

    def __repr__(self) -> str:
        spec = self.spec
        runs = f"{len(spec.schedules)} schedules, {len(spec.seeds)} seeds, {spec.epochs} epochs"
        return f"<{type(self).__name__} of {runs}, in {str(self.store.folder)!r}>"

    def run(
        self,
        jobs: int = 1,
        parallel: Parallel = "loky",
        *,
        together: int = 1,
        minutes: float | None = None,
        progress: bool = True,
    ) -> None:
        """Train the runs that the folder does not have yet. Those that failed before are tried again.

        A run that raises is kept in `failures`, and the others go on. One that was stopped goes on with its next epoch,
        one that was killed with an epoch of its last half minute, and either ends as if it had not been. In this
        process each run sets the global random seed.

        Args:
            jobs: Runs at a time, each in a process of its own; 1 for one after another in this process. With GPUs, the
                processes take them in turn. Heads on a frozen backbone are trained together, here.
            parallel: What starts the processes: loky on this machine, or Ray or Dask, also on a cluster if one is
                connected (`ray.init(address=...)`, `dask.distributed.Client(...)`). All its machines must see the
                folder.
            together: Runs that a process trains at a time, in one compiled step: for a GPU that one run leaves mostly
                idle. On JAX; elsewhere 1.
            minutes: Stop after so long, as the epochs that are running end; the next call goes on there. None trains
                to the end. Heads on a frozen backbone are trained to the end in any case.
            progress: Whether to show the runs done and running, and the time left.

        Raises:
            ValueError: If an argument is out of range, the folder holds runs of another study, or the model is not one
                that a study can train.
        """
        integer("jobs", jobs, "Pass the number of runs at a time.")
        one_of("parallel", parallel, PARALLEL)
        integer("together", together, "Pass the number of runs that are trained in one compiled step.")
        if minutes is not None:
            positive("minutes", minutes, "Pass minutes=170 to stop within three hours.")
        missing = self.store.missing()
        if not missing:
            self.store.check_model(fingerprint_of(self.spec.build(0)))
            return
        execute(
            self.store, missing, jobs=jobs, parallel=parallel, together=together, minutes=minutes, progress=progress
        )
        failed = self.store.count(missing)[1]
        if failed:
            warning = f"{failed} of {len(missing)} runs failed: see `study.failures`."
            warnings.warn(warning, RuntimeWarning, stacklevel=2)

    @property
    def results(self) -> DataFrame:
        """The runs that are done: one row per schedule, seed and epoch, in the order of these.

        Columns: `schedule`, its name; `seed`; `epoch`, the epochs completed, from 1; `rate`, the learning rate of the
        epoch's last update; `loss`, `accuracy`, `val_loss`, `val_accuracy`, NaN where they were not finite; `cycle`,
        from 0, of the epoch's last update, -1 where it belongs to none; `cycle_end`, whether a cycle ends with the
        epoch.
        """
        return results_table(self.store.records(), self.spec)

    @property
    def ensembles(self) -> DataFrame:
        """What ensembles of cycle ends are worth on the validation samples: one row per run and end of a cycle.

        Columns: `schedule`, `seed`, `epoch`; `members`, the ends so far, whose probabilities are averaged; `val_loss`
        and `val_accuracy` of the ensemble; `last_val_loss` and `last_val_accuracy` of its last member. For classifiers
        of runs with `keep_outputs`; else without rows.
        """
        return ensembles_table(self.store.records(), self.spec)

    @property
    def made_with(self) -> list[dict[str, Any]]:
        """Versions and hardware that runs were made with, each once: see `keras_sgdr.environment.environment`."""
        different = {json.dumps(record.made_with, sort_keys=True) for record in self.store.records()}
        return [json.loads(text) for text in sorted(different)]

    @property
    def trained(self) -> dict[str, str]:
        """What was trained, in words, by name: samples, epochs, batches, seeds, and when."""
        (x, _), (x_val, _) = self.spec.data
        records, seeds = self.store.records(), self.spec.seeds
        dates = sorted({record.ended for record in records if record.ended})
        is_range = len(seeds) > 1 and seeds == list(range(seeds[0], seeds[-1] + 1))
        return {
            "training samples": f"{len(x)} of {' x '.join(map(str, x.shape[1:]))}",
            "validation samples": f"{len(x_val)} of {' x '.join(map(str, x_val.shape[1:]))}",
            "schedules": "; ".join(self.spec.schedules),
            "epochs": f"{self.spec.epochs}, of {self.spec.steps} updates in batches of {self.spec.batch_size}",
            "seeds": f"{seeds[0]} to {seeds[-1]}" if is_range else ", ".join(map(str, seeds)),
            "runs done": f"{len(self.store.runs) - len(self.store.missing())} of {len(self.store.runs)}",
            "trained on": " to ".join(dict.fromkeys([*dates[:1], *dates[-1:]])) or "a date that the runs do not tell",
        }

    @property
    def failures(self) -> DataFrame:
        """The runs that failed: `schedule`, `seed`, `traceback`."""
        runs = set(self.store.runs)
        rows = [(run.schedule, run.seed, text) for run, text in self.store.failures() if run in runs]
        return load("pandas", "A study").DataFrame(rows, columns=["schedule", "seed", "traceback"])

    def summary(self, **options: Any) -> Summary:
        """What the runs say, with intervals: see `keras_sgdr.study.results.report.summarize`, also for the options."""
        return summarize(self.results, **{"ensembles": self.ensembles, **options})

    def figures(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Draw the study's figures into a folder: see `keras_sgdr.study.results.figures.draw`. Returns the files."""
        return draw(self.results, self.spec.schedules, folder, self.spec.epochs)
