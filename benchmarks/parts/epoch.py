"""An epoch of fine-tuning ResNet-50 on ants and bees, and the first one from the start of the process."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.contenders.case import Case
from benchmarks.parts.images import image_folder
from benchmarks.rows import Row, ratio
from benchmarks.settings import Settings
from benchmarks.turns import Contender, ContenderError, round_by_round

__all__ = ["rows"]

TUTORIAL = "PyTorch tutorial's loop"
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
    """Rows of the job's size and batch."""
    label = f"{settings.size} px, batch {settings.batch}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images, note = image_folder(folder / "images", settings.images)
        epochs = 2
        while epochs <= settings.rounds + 1:  # The example's cycles of 2, 4, 8... epochs end with the last.
            epochs = 2 * epochs + 2
        weights = os.environ.get("SGDR_WEIGHTS", "")
        case = Case(str(images), settings.size, settings.batch, epochs, weights, str(folder))
        running = contenders(settings, case, folder)
        absent: dict[str, str] = {}
        try:
            starts = start(running, absent)
            yield from pairs(f"start to the end of the first epoch, {label}", starts, absent, settings, note, None)
            times = {name: contender.turn for name, contender in running.items()}
            on_gpu = ON_GPU if settings.gpu else AHEAD
            # After each round: the rows of the last one replace those before, and stay if the job is stopped.
            for seconds in round_by_round(times, settings.rounds, settings.seconds):
                yield from pairs(f"epoch of fine-tuning, {label}", seconds, absent, settings, note, on_gpu)
        finally:
            for contender in running.values():
                contender.stop()


def start(running: dict[str, Contender], absent: dict[str, str]) -> dict[str, list[float]]:
    """Seconds of each contender's first turn; those that cannot take part move to `absent` with why."""
    seconds: dict[str, list[float]] = {}
    for name, contender in list(running.items()):
        try:
            seconds[name] = [contender.turn()]
            print(f"{name}: first epoch after {seconds[name][0]:.1f} s", flush=True)
        except ContenderError as error:
            absent[name] = str(error)
            del running[name]
            contender.stop()
    return seconds


def pairs(
    what: str,
    seconds: Mapping[str, list[float]],
    absent: Mapping[str, str],
    settings: Settings,
    note: str,
    against_tutorial: float | None,
) -> Iterator[Row]:
    """Each backend of ours beside the tutorial's loop, and beside the plain pipeline on the same backend."""
    for backend in settings.backends:
        peers = {TUTORIAL: against_tutorial or AHEAD}
        peers |= {peer: AHEAD for peer in (plain(backend), plain(backend, jit=False)) if peer in {**seconds, **absent}}
        for peer, goal in peers.items():
            name = f"{what}: {ours(backend)}"
            if missing := next((f"{who}: {absent[who]}" for who in (ours(backend), peer) if who in absent), ""):
                yield Row(name, peer, at_most=goal, note=missing)
            else:
                yield ratio(name, peer, seconds[ours(backend)], seconds[peer], goal, note=note)
