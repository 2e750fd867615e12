"""Saving the weights at the end of each cycle."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import keras

from keras_sgdr._checks import invalid, is_integer, require, users_level, warn
from keras_sgdr._files import absolute
from keras_sgdr.callbacks.cycle_callback import CycleCallback, CycleEnd
from keras_sgdr.callbacks.fit_context import folder_of_fit, print_line
from keras_sgdr.callbacks.sgdr import SGDR
from keras_sgdr.snapshots import (
    SUFFIX,
    Manifest,
    Mode,
    Snapshot,
    SnapshotError,
    architecture,
    has_finite_weights,
    higher_is_better,
    processes_of,
    require_whole_weights,
    save_weights,
)

__all__ = ["SnapshotCheckpoint"]


class SnapshotCheckpoint(CycleCallback):
    """Saves the weights at the end of each cycle, before the restart, the last cycle's among them.

    Writes `cycle-003_epoch-0070.weights.h5` and so on, and `snapshots.json`, which lists whole files only, whenever the
    process ends: see `keras_sgdr.snapshots`. A cycle that ends inside an epoch is saved there. One that ends with an
    epoch is saved before the validation, which may be interrupted, and gets its metrics after it. A cycle whose loss
    or weights are not finite is not saved, and a warning says so.

    What is saved is what is validated: with `keras.callbacks.SwapEMAWeights` the averages, before it or after it in the
    list. (With `use_ema=True` in the optimizer alone, Keras puts the averages into the model after the last epoch's
    end, and so after the last snapshot.) Where several processes train one model, one of them writes: rank 0 of
    `torch.distributed`, the chief of a `MultiWorkerMirroredStrategy`, process 0 of JAX. The others wait for it, and
    keep and refuse what it does.

    Example:

    >>> sgdr = SGDR(T_0=10, T_mult=2)
    >>> model.fit(x, y, epochs=70, validation_split=0.1, callbacks=[sgdr, SnapshotCheckpoint("snapshots")])
    >>> sgdr.recommend()

    Args:
        directory: Folder to write into; made if it is not there.
        sgdr: The `SGDR` callback whose cycles are followed; None finds it among the callbacks of the `fit`.
        keep: None keeps every snapshot, `n` or `("last", n)` the last `n`, `("best", n)` the best `n` by `monitor`.
        monitor: Metric that says which snapshot is best.
        mode: `"min"`, `"max"`, or `"auto"` to go by the metric's name.
        resume: Whether to go on in a folder that has snapshots. A cycle that is run again replaces its snapshot. A run
            that begins where a cycle ended, of which there is no snapshot, saves it then, without metrics. One that
            lacks `monitor` because the run before was stopped is never dropped as not among the best. A run that begins
            at the first epoch does not go on with another: its first snapshot replaces all that there were, of which a
            warning tells, unless they are of no more than that epoch.
        verbose: 1 prints a line for each snapshot.

    Raises:
        ValueError: At construction, for a value out of range. When `fit` begins: if another training, of this process
            or any other, writes into the folder; if the folder holds snapshots and `resume` is False; if they are those
            of another schedule; if there is no `SGDR` (see `CycleCallback`).
        SnapshotError: If the folder's manifest is damaged, or a file cannot be written, as where the disk is full.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        sgdr: SGDR | None = None,
        keep: int | tuple[Literal["last", "best"], int] | None = None,
        monitor: str = "val_loss",
        mode: Mode = "auto",
        *,
        resume: bool = False,
        verbose: int = 0,
    ) -> None:
        super().__init__(sgdr)
        which, n = keep if isinstance(keep, tuple) and len(keep) == 2 else ("last", keep)
        valid = isinstance(which, str) and which in ("last", "best") and (is_integer(n) or keep is None)
        rule = '`keep` must be None, a positive integer, or a pair ("last" or "best", a positive integer).'
        require(valid, rule, "keep", keep, 'Pass keep=3 for the last three, keep=("best", 3) for the best three.')
        higher_is_better(monitor, mode)
        self.directory = absolute("directory", directory)
        self.keep = None if n is None else (which, int(n))
        self.monitor, self.mode = monitor, mode
        self.resume = resume
        self.verbose = verbose
        self._due: list[CycleEnd] = []
        self._lock = contextlib.ExitStack()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        self._manifest = Manifest(self.directory)
        self._checked = False
        self._saved: set[int] = set()
        self._refused: set[int] = set()
        self._of_another_run: list[Snapshot] = []
        self._due = []
        require_whole_weights(self.model)
        self._processes = processes_of(self.model)

    def _by_one(self, work: Callable[[], None]) -> None:
        """Let one process read and write, and all have its manifest and its decisions."""

        def state() -> dict[str, Any]:
            work()
            return {"manifest": self._manifest.text, "saved": sorted(self._saved), "refused": sorted(self._refused)}

        shared = self._processes.by_one(state)
        if not self._processes.writes:
            self._manifest = Manifest.from_text(self.directory, shared["manifest"])
            self._saved, self._refused = set(shared["saved"]), set(shared["refused"])

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._due = []
        if not self._checked:
            self._checked = True
            self._processes.require_one("directory", str(self.directory))
            self._processes.require_one("schedule", _describe(self._sgdr.schedule))
            self._by_one(lambda: self._open(epoch))
            self._sgdr.snapshot_folder = self.directory

    def _open(self, epoch: int) -> None:
        """Take the folder, and begin with what it holds."""
        self._lock.close()
        with contextlib.ExitStack() as lock:
            lock.callback(folder_of_fit(self, self.directory).release)
            self._begin(epoch)
            self._lock = lock.pop_all()

    def _begin(self, epoch: int) -> None:
        self._manifest = Manifest.of_folder(self.directory)
        if self._manifest.snapshots and not self.resume:
            raise invalid(
                "A folder of snapshots belongs to one run.",
                f"directory={str(self.directory)!r}, which has snapshots",
                "Pass another folder, or resume=True to go on with that run. Each trial of a search and each fold of a "
                "cross-validation needs a folder of its own.",
            )
        schedule = _describe(self._sgdr.schedule)
        if self._manifest.snapshots and self._manifest.schedule != schedule:
            raise invalid(
                "Snapshots of one folder must be of one schedule.",
                f"{schedule}, while those in {str(self.directory)!r} are of {self._manifest.schedule}",
                "Pass another folder.",
            )
        self._manifest.schedule, self._manifest.monitor, self._manifest.mode = schedule, self.monitor, self.mode
        self._manifest.clean()
        self._manifest.write()
        if not epoch:
            self._begin_anew()
        # What `keep` dropped is not to come back.
        known = max([self._manifest.ended, *(saved.cycle for saved in self._manifest.snapshots)])
        for end in self._ends_of(epoch - 1) if self.resume and epoch else ():
            if end.batches == self._batches and end.cycle.index >= known:
                self._save(end, {}, measured=False)

    def _begin_anew(self) -> None:
        """Let the first snapshot take the place of all that there are: a folder has those of one run."""
        self._of_another_run, self._manifest.ended = self._manifest.snapshots, 0
        reached = max((saved.epoch for saved in self._of_another_run), default=0)
        # One that was stopped in its first epoch is nothing to go on with.
        if reached > 1:
            warn(
                "With `resume=True` the folder is that of the run that goes on.",
                f"a run from its first epoch, while {str(self.directory)!r} has snapshots of one up to epoch "
                f"{reached:g}, which its first snapshot will replace",
                "To keep them, stop it and pass another folder. (`BackupAndRestore` has nothing to restore after a "
                "training that came to its end.)",
            )

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._ends:
            self._due, self._training_means = self._completed(), self._running_means()

    # Not before: callbacks that are called after this one may put other weights into the model to be validated.
    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        due, self._due = self._due, []
        # The others hear of it at the end of the epoch, as they may not validate: an error is raised there, everywhere.
        for end in due if due and self._processes.writes else ():
            with contextlib.suppress(SnapshotError):
                self._save(end, self._training_means, measured=False)

    def on_cycle_end(self, end: CycleEnd, logs: dict[str, float]) -> None:
        metrics = {name: value for name, value in logs.items() if not name.startswith("learning_rate")}
        with self.as_epochs_end(end):
            self._by_one(lambda: self._finish(end, metrics))

    def _finish(self, end: CycleEnd, metrics: dict[str, float]) -> None:
        number = end.cycle.index + 1
        self._manifest.ended = max(self._manifest.ended, number)
        if number in self._saved:
            others = [each for each in self._manifest.snapshots if each.cycle != number]
            (saved,) = (each for each in self._manifest.snapshots if each.cycle == number)
            if self._refuse(end, metrics):
                self._manifest.keep(others)
            else:
                self._manifest.amend(replace(saved, metrics=metrics, measured=True))
        elif number not in self._refused:
            self._save(end, metrics)
        if number in self._refused:
            self._manifest.write()
        if self.keep is not None:
            self._drop(*self.keep)

    def _drop(self, which: str, n: int) -> None:
        manifest = self._manifest
        try:
            kept = manifest.last(n) if which == "last" else manifest.best(n)
        except ValueError as error:
            # A warning: an error would end a training that has come this far.
            warnings.warn(f"{error} Every snapshot is kept.", stacklevel=users_level())
        else:
            unknown = [] if which == "last" else manifest.unmeasured
            manifest.keep([each for each in manifest.snapshots if each in kept or each in unknown])

    def _save(self, end: CycleEnd, metrics: dict[str, float], *, measured: bool = True) -> None:
        if self._refuse(end, metrics):
            return
        number, model, steps = end.cycle.index + 1, self.model, self._batches
        whole = end.batches == steps
        snapshot = Snapshot(
            cycle=number,
            epoch=end.epoch + 1 if whole or steps is None or end.batches is None else end.epoch + end.batches / steps,
            update=None if steps is None or end.batches is None else end.epoch * steps + end.batches,
            rate=self._rate(end),
            metrics=metrics,
            file=f"cycle-{number:03d}_epoch-{end.epoch + 1:04d}{SUFFIX}",
            sha256="",
            keras=keras.__version__,
            architecture=architecture(model),
            measured=measured,
        )
        snapshot = self._manifest.add(snapshot, functools.partial(save_weights, model), self._of_another_run)
        self._of_another_run = []
        self._saved.add(number)
        if self.verbose:
            file = self.directory / snapshot.file
            print_line(f"Epoch {end.epoch + 1}: end of cycle {number}, weights saved to {file}")

    def _refuse(self, end: CycleEnd, metrics: dict[str, float]) -> bool:
        """Whether a cycle has diverged; warns if it has."""
        number = end.cycle.index + 1
        trouble = next((f"{name}={value}" for name, value in metrics.items() if _diverged(name, value)), None)
        if trouble is None and number not in self._saved and not has_finite_weights(self.model):
            trouble = "weights that are not finite"
        if trouble is None:
            return False
        self._refused.add(number)
        warnings.warn(
            f"Cycle {number} ended in epoch {end.epoch + 1} with {trouble}: its snapshot is not saved.",
            stacklevel=users_level(),
        )
        return True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._lock.close()
        if self._checked and not self._saved and not self._refused:
            self.warn_of_no_cycle("a snapshot")

    def _rate(self, end: CycleEnd) -> float:
        """The learning rate of the cycle's last update."""
        steps = self._sgdr.rates_per_epoch
        last = end.cycle.stop - 1 - end.epoch * steps
        if steps > 1:
            # Of the positions of an update only the first has its rate.
            last -= last % self._sgdr.updates_per_batch.denominator
        return float(self._sgdr.schedule.learning_rates(end.epoch + 1, steps, end.epoch)[last])

    @property
    def manifest(self) -> Manifest:
        """What the folder holds now."""
        return Manifest.read(self.directory)


def _describe(schedule: Any) -> str:
    """A schedule in words, the same in every process."""
    config = schedule.get_config() if hasattr(schedule, "get_config") else {}
    return f"{type(schedule).__name__}({', '.join(f'{name}={value!r}' for name, value in config.items())})"


def _diverged(name: str, value: float) -> bool:
    return name.endswith("loss") and not math.isfinite(value)
