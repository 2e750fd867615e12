"""Processes that take turns: one works while the others wait, so that other load on the machine affects all alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

__all__ = ["Contender", "ContenderError", "Turns", "round_by_round", "seconds_of", "take_turns"]

Times = TypeVar("Times")
LEAST_ROUNDS = 3


class ContenderError(Exception):
    """A contender that cannot take part, or no longer; the message says why."""


class Turns:
    """A contender's side. Its first turn is from the start of the process to the first `end`.

    What the process prints goes to stderr from here on: stdout is for telling that a turn has ended.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def end(self) -> None:
        """Tell that the turn has ended, and wait for the next. The process ends here where there is none."""
        self._tell({})
        if not sys.stdin.readline():
            os._exit(0)

    def withdraw(self, reason: str) -> NoReturn:
        """Tell why there will be no turn, and end the process."""
        self._tell({"reason": reason})
        os._exit(0)

    def _tell(self, message: dict[str, str]) -> None:
        self._channel.write(json.dumps(message) + "\n")
        self._channel.flush()


class Contender:
    """A process that works only in its turns.

    Args:
        command: What it runs: a program that makes a `Turns` and calls `end` after each turn.
        log: File for what it prints.
        environment: Environment variables beside those of this process.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command, self._log = command, log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None

    def turn(self) -> float:
        """Let it work for a turn. The first starts the process.

        Returns:
            Seconds of the turn.

        Raises:
            ContenderError: If it withdraws, or ends.
        """
        began = time.perf_counter()
        if self._process is None:
            with self._log.open("a") as log:
                self._process = subprocess.Popen(
                    self._command,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
        else:
            self._wake()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        seconds = time.perf_counter() - began
        if not line:
            code = self._process.wait()
            raise ContenderError(f"ended with status {code}: {last_line(self._log)}")
        message: dict[str, Any] = json.loads(line)
        if "reason" in message:
            raise ContenderError(message["reason"])
        return seconds

    def stop(self) -> None:
        """End the process. The next turn starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _wake(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended: nothing can be read from it either.


def seconds_of(action: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def take_turns(
    turns: Mapping[str, Callable[[], Times]], rounds: int, seconds: float = float("inf")
) -> dict[str, list[Times]]:
    """A turn of each in every round, in random order, so that what one leaves in caches and memory averages out.

    Args:
        turns: By name, what works for a turn and returns its time.
        rounds: Number of rounds.
        seconds: After which no further round begins, except to have three.

    Returns:
        By name, the time of each round's turn.
    """
    times: dict[str, list[Times]] = {name: [] for name in turns}
    for times in round_by_round(turns, rounds, seconds):  # noqa: B007  # To the last.
        pass
    return times


def round_by_round(
    turns: Mapping[str, Callable[[], Times]], rounds: int, seconds: float = float("inf")
) -> Iterator[dict[str, list[Times]]]:
    """The result of `take_turns` after each round, for those who may be stopped between two."""
    order = np.random.default_rng(0)
    times: dict[str, list[Times]] = {name: [] for name in turns}
    began = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - began > seconds:
            break
        for name in order.permutation(list(turns)):
            times[name].append(turns[name]())
        yield times


def last_line(log: Path) -> str:
    """The last line that says something, or the beginning of it."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()] if log.is_file() else []
    return next((line for line in reversed(lines) if line), "nothing was printed")[:150]
