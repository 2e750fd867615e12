"""Several `fit`s of one process that take turns epoch by epoch, each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from benchmarks.turns import take_turns
from keras_sgdr.callbacks.fit_context import move_to_front

__all__ = ["WARMUP", "Runner", "race"]

WARMUP = 3  # Epochs of each before the first round.


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

    def epoch(self) -> float:
        """Train an epoch, and return its seconds. The `fit` waits after it."""
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
        self._start = time.perf_counter()

    def _end(self, epoch: int, logs: Any) -> None:
        self._seconds = time.perf_counter() - self._start


def race(runners: Mapping[str, Runner], rounds: int, seconds: float) -> dict[str, list[float]]:
    """The seconds of an epoch of each runner, in every round.

    Args:
        runners: By name.
        rounds: Number of rounds.
        seconds: After which no further round begins, except to have three.
    """
    for runner in runners.values():
        runner.start()
        for _ in range(WARMUP):
            runner.epoch()
    return take_turns({name: runner.epoch for name, runner in runners.items()}, rounds, seconds)
