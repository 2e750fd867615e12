"""Trials in forks of this process: one that ends it, hangs or takes its memory is found, and the next one is made."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.trials import Fault, Trials

__all__ = ["Ground"]

# Bytes that reading a small file may take.
MOST_MEMORY = 500_000_000
PAGE = os.sysconf("SC_PAGE_SIZE")


class Ground:
    """A folder for the files of trials, and what lies beside it and must stay as it is.

    Args:
        root: An empty folder.

    Attributes:
        files: Where a trial's files are; emptied by nobody.
        beside: A folder of files that no trial may change, nor add to.
        canary: What the code in a file makes, if it is run.
        secret: A file of `beside`.
    """

    def __init__(self, root: Path) -> None:
        self.files, self.beside, self.canary = root / "files", root / "beside", root / "canary"
        self.secret = self.beside / "secret.weights.h5"
        self._root = root
        for folder in (self.files, self.beside, self.beside / "empty"):
            folder.mkdir()
        for name in (self.secret.name, "snapshots.json", "record.json"):
            (self.beside / name).write_text(f"the content of {name}")
        self._before = self._around()
        # What is alive now is not copied by a fork's garbage collection.
        gc.freeze()

    def attempt(
        self,
        trials: Trials,
        name: str,
        action: Callable[[], Any],
        *,
        names: str | None = None,
        within: float = 10.0,
        must_refuse: bool = False,
    ) -> None:
        """`Trials.attempt` in a fork.

        Args:
            trials: What is added to.
            name: Of this trial.
            action: What to do.
            names: What the error must name.
            within: Seconds.
            must_refuse: Whether to return is a fault.
        """

        def act() -> None:
            action()
            if must_refuse:
                raise Fault("wrong", "it was taken")

        reader, writer = os.pipe()
        memory = _memory(os.getpid())
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                alone = Trials(trials.what)
                alone.attempt(name, act, within=within, names=names)
                os.write(writer, json.dumps(dataclasses.asdict(alone)).encode())
            finally:
                sys.stderr.flush()
                os._exit(0)
        os.close(writer)
        status, largest = _watch(child, within + 2, memory + 3 * MOST_MEMORY)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        if said:
            alone = Trials(**json.loads(said))
            trials.tried += alone.tried
            trials.refused += alone.refused
            trials.faults += alone.faults
        else:
            trials.tried += 1
        if (cost := largest - memory) > MOST_MEMORY:
            trials.add("costly", name, f"{cost / 1e6:.0f} MB")
        elif status is None:
            trials.add("hung", name, f"after {within + 2:g} s")
        elif not said:
            trials.add("ended", name, f"status {status}")
        self._look(trials, name)

    def _look(self, trials: Trials, name: str) -> None:
        """See that nothing was run, and that nothing has changed beside the files."""
        if self.canary.exists():
            trials.add("executed", name, "the canary is there")
            self.canary.unlink()
        if (around := self._around()) != self._before:
            changed = sorted({path for path, _ in around.items() ^ self._before.items()})
            trials.add("outside", name, ", ".join(changed))
            self._before = around

    def _around(self) -> dict[str, str]:
        """Everything but the files of the trials, and its content."""
        return {
            str(path.relative_to(self._root)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for folder in (self._root, self.beside)
            for path in (folder.rglob("*") if folder == self.beside else folder.iterdir())
            if path != self.canary
        }


def _watch(child: int, within: float, most: int) -> tuple[int | None, int]:
    """Wait for a child, which is killed after so many seconds, or when it has so much memory.

    Returns:
        Its exit status, None if it was killed; the most memory that it had, in bytes.
    """
    end = time.monotonic() + within
    stopped = False
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return None if stopped else os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        if not stopped and (time.monotonic() > end or _memory(child) > most):
            stopped = True
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _memory(process: int) -> int:
    """Bytes of memory that a process has now; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0
