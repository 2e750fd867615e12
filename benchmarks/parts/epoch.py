"""An epoch of fine-tuning ResNet-50 on ants and bees, and the first one from the start of the process."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.contenders.case import Case
from benchmarks.parts.images import image_folder
from benchmarks.rows import Row, ratio
from benchmarks.settings import Settings
from benchmarks.turns import Contender, ContenderError, round_by_round

__all__ = ["rows"]

TUTORIAL = "PyTorch tutorial's loop"
STARTS = 3  # Rounds of first turns, on a CPU.
AHEAD, ON_GPU = 1.0, 0.333  # The goals: no slower; on a GPU three times as fast as the tutorial's loop.


def ours(backend: str) -> str:
    return f"ours, {backend}"


def plain(backend: str, jit: bool = True) -> str:
    return f"plain Keras, {backend}{'' if jit else ', jit_compile=False'}"


def contenders(settings: Settings, case: Case, folder: Path) -> dict[str, Contender]:
    """Processes by name: the example on each backend, the tutorial's loop, and the plain pipeline."""
    found: dict[str, Contender] = {}

    def add(name: str, module: str, backend: str, case: Case = case) -> None:
        command = [sys.executable, "-m", f"benchmarks.contenders.{module}", case.to_json()]
        log = folder / f"{name.replace(' ', '_')}.log"
        found[name] = Contender(command, log, {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"})

    without_jit = dataclasses.replace(case, jit=False)
    for backend in settings.backends:
        add(ours(backend), "ours", backend, dataclasses.replace(case, output=str(folder / backend)))
    add(TUTORIAL, "tutorial", "torch")
    for backend in settings.peers:
        # On TensorFlow `jit_compile=False` makes a harder peer; on a GPU XLA compiles for longer than a job may take.
        if backend != "tensorflow" or (settings.default_jit and not settings.gpu):
            add(plain(backend), "keras_pipeline", backend)
        if backend == "tensorflow":
            add(plain(backend, jit=False), "keras_pipeline", backend, without_jit)
    return found


def rows(settings: Settings) -> Iterator[Row]:
    """Rows of the job's size and batch, one backend after another: a job that is stopped has those of the first."""
    label = f"{settings.size} px, batch {settings.batch}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images, note = image_folder(folder / "images", settings.images)
        epochs = 2
        # The tutorial's loop takes part beside each backend. The example's cycles of 2, 4, 8... epochs end with the
        # last.
        while epochs <= settings.rounds * len(settings.backends) + 1:
            epochs = 2 * epochs + 2
        weights = os.environ.get("SGDR_WEIGHTS", "")
        case = Case(str(images), settings.size, settings.batch, epochs, weights, str(folder))
        running = contenders(settings, case, folder)
        absent: dict[str, str] = {}
        starts = 1 if settings.gpu or settings.small else min(STARTS, settings.rounds)
        try:
            for backend in settings.backends:
                peers = [TUTORIAL, *(name for name in (plain(backend), plain(backend, jit=False)) if name in running)]
                names = [ours(backend), *peers]
                what = f"start to the end of the first epoch, {label}: {ours(backend)}"
                beginning = {name: partial(first_turn, name, running[name], absent) for name in names}
                # After each round: the rows of the last one replace those before, and stay if the job is stopped.
                for seconds in round_by_round(beginning, starts):
                    yield from pairs(what, ours(backend), peers, seconds, absent, note, AHEAD)
                # Without ours there is nothing to race the peers for.
                taking_part = [name for name in names if not {name, ours(backend)} & absent.keys()]
                times = {name: running[name].turn for name in taking_part}
                what = f"epoch of fine-tuning, {label}: {ours(backend)}"
                goal = ON_GPU if settings.gpu else AHEAD
                for seconds in round_by_round(times, settings.rounds, settings.seconds / len(settings.backends)):
                    yield from pairs(what, ours(backend), peers, seconds, absent, note, goal)
                for name in names:
                    running[name].stop()
        finally:
            for contender in running.values():
                contender.stop()


def first_turn(name: str, contender: Contender, absent: dict[str, str]) -> float:
    """Seconds of the first turn of a new process, which goes on.

    NaN for one that cannot take part, now or before; the reason comes into `absent`.
    """
    contender.stop()
    if name in absent:
        return math.nan
    try:
        seconds = contender.turn()
    except ContenderError as error:
        absent[name] = str(error)
        contender.stop()
        return math.nan
    print(f"{name}: first epoch after {seconds:.1f} s", flush=True)
    return seconds


def pairs(
    what: str,
    who: str,
    peers: Sequence[str],
    seconds: Mapping[str, list[float]],
    absent: Mapping[str, str],
    note: str,
    against_tutorial: float,
) -> Iterator[Row]:
    """One of ours beside each of its peers."""
    for peer in peers:
        goal = against_tutorial if peer == TUTORIAL else AHEAD
        if missing := next((f"{name}: {absent[name]}" for name in (who, peer) if name in absent), ""):
            yield Row(what, peer, at_most=goal, note=missing)
        else:
            yield ratio(what, peer, seconds[who], seconds[peer], goal, note=note)
