"""Several `fit`s that take turns epoch by epoch, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sgdr.callbacks.fit_context import move_to_front

__all__ = ["Race", "Runner", "Seconds"]


class Seconds(NamedTuple):
    """The duration of an epoch: wall time, and CPU time of all cores, which other processes disturb less."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Seconds) -> Seconds:
        return Seconds(self.wall - start.wall, self.cpu - start.cpu)


class Runner:
    """A `fit` in a thread of its own, which trains one epoch at each call of `epoch`.

    The time runs from before the callbacks' `on_epoch_begin` to after their `on_epoch_end`, in the real loop of `fit`.
    Set-up and tracing come before the first epoch or are part of it.

    Args:
        fit: Calls `model.fit` with the callbacks that it gets, in their order.
        callbacks: The callbacks under test.
    """

    def __init__(self, fit: Callable[[list[keras.callbacks.Callback]], Any], callbacks: Sequence[Any]) -> None:
        self._first = keras.callbacks.LambdaCallback(on_epoch_begin=self._begin)
        last = keras.callbacks.LambdaCallback(on_epoch_end=self._end)
        self._fit, self._callbacks = fit, [self._first, *callbacks, last]
        self._turn, self._waiting = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Run up to the start of the first epoch."""
        self._thread.start()
        self._wait()

    def epoch(self) -> Seconds:
        """Train an epoch, and return its duration. The `fit` waits after it."""
        self._turn.release()
        self._wait()
        return self._seconds

    def _wait(self) -> None:
        self._waiting.acquire()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._fit(self._callbacks)
        except BaseException as error:
            self._error = error
        finally:
            self._waiting.release()

    def _begin(self, epoch: int, logs: Any) -> None:
        move_to_front(self._first)  # `SGDR` has gone there before it.
        # Only here is all work of the previous epoch done, which must not overlap with the next runner's epoch.
        self._waiting.release()
        self._turn.acquire()
        self._start = Seconds.now()

    def _end(self, epoch: int, logs: Any) -> None:
        self._seconds = Seconds.now().since(self._start)


class Race:
    """Runners by name, in rounds of one epoch each.

    Args:
        runners: By name.
        warmup: Epochs of each runner before the first round.

    Attributes:
        seconds: By name, the duration of each round's epoch.
    """

    def __init__(self, runners: dict[str, Runner], warmup: int) -> None:
        self._runners = runners
        self._order = np.random.default_rng(0)
        self.seconds: dict[str, list[Seconds]] = {name: [] for name in runners}
        for runner in runners.values():
            runner.start()
            for _ in range(warmup):
                runner.epoch()

    def round(self) -> None:
        """An epoch of each runner, in random order, so that caches and freed memory of the previous one average out."""
        for name in self._order.permutation(list(self._runners)):
            self.seconds[name].append(self._runners[name].epoch())
