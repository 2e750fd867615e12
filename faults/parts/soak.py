"""Many trainings in one process: its memory stays flat, and what each leaves is what the first left."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faults.trials import Settings, Trials
from keras_sgdr import SGDR, CycleEarlyStopping

# How much more memory the process may have after the second half of the trainings than after the first.
GROWTH = 0.02


def trials(settings: Settings) -> Iterator[Trials]:
    fits = settings.count(300, 20)
    found = Trials("Trainings in one process, memory and rates", settings.backend)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    model = network()
    memory = []
    rates: list[list[float]] = []
    for number in range(fits):
        found.tried += 1
        callbacks = [SGDR(2, 2, eta_max=0.1), CycleEarlyStopping(monitor="loss", patience=5)]
        history = model.fit(x, x[:, :1], epochs=3, batch_size=16, verbose=0, callbacks=callbacks)
        rates.append(history.history["learning_rate"])
        if rates[-1] != rates[0]:
            found.add("wrong", f"fit {number}", f"rates {rates[-1]}, at first {rates[0]}")
        gc.collect()
        memory.append(resident())
    middle, end = memory[fits // 2], memory[-1]
    found.note = f"{middle / 2**20:.0f} MB after {fits // 2}, {end / 2**20:.0f} MB after all"
    if end > (1 + GROWTH) * middle:
        found.add("lost", "memory", found.note)
    yield found


def network() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    return model


def resident() -> int:
    """Bytes of memory that the process has now."""
    statistics = Path("/proc/self/statm")
    if statistics.is_file():
        return int(statistics.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
