"""What each library calls SGDR, in a few lines, counted in updates."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity_tests.processes import Arrays
from parity_tests.rates.cases import RATE_CASES, RateCase
from parity_tests.rates.exact import cycles, restarts

__all__ = ["INCUMBENTS", "Incumbent", "needs", "positions"]

Array = NDArray[Any]

FARTHEST = 1_000_000  # updates
# By reach (see `Incumbent`). Optax has an object per cycle, compiled into one graph.
MOST_CYCLES = {"any": 10_000, "run": FARTHEST, "cycles": 64}


def needs(case: RateCase) -> set[str]:
    """What a library must be able to express."""
    last = len(restarts(case, case.updates))
    have = {
        "growing cycles": case.T_mult > 1,
        "growth by a fraction": case.T_mult % 1 != 0,
        "shrinking cycles": case.T_mult < 1,
        "eta_min": case.eta_min > 0,
        "decay of eta_max": case.eta_max_decay != 1,
        "decay of eta_max above an eta_min": case.eta_max_decay != 1 and case.eta_min > 0,
        "eta_max that decays below eta_min": case.eta_max * case.eta_max_decay**last
        < case.eta_min * case.eta_min_decay**last,
        "decay of eta_min": case.eta_min_decay != 1,
        "warmup": case.warmup > 0,
        "cycles or warmup of a fraction of an update": any(
            length * case.steps_per_epoch % 1 for length in (case.T_0, case.warmup)
        ),
        "a number of cycles": case.cycle_limit is not None,
        "inclusive end": case.end == "inclusive",
    }
    return {need for need, needed in have.items() if needed}


GROWTH = frozenset({"growing cycles", "eta_min"})
ANY_GROWTH = GROWTH | {"growth by a fraction", "shrinking cycles"}
ALL_BUT_FRACTIONS = GROWTH | {
    "decay of eta_max",
    "decay of eta_max above an eta_min",
    "eta_max that decays below eta_min",
    "decay of eta_min",
    "warmup",
    "a number of cycles",
}
EVERYTHING = ALL_BUT_FRACTIONS | ANY_GROWTH | {"cycles or warmup of a fraction of an update", "inclusive end"}


@dataclass(frozen=True)
class Incumbent:
    """A library's SGDR.

    Args:
        name: What the table calls it.
        packages: What must be installed.
        rates: The rates of a case at rising positions.
        expresses: The needs that it meets.
        reach: "any": asked at any update, so its restarts are looked at up to the millionth update or the ten
            thousandth cycle; "run": stepped, so over the case's own updates; "cycles": over the first 64 cycles.
    """

    name: str
    packages: tuple[str, ...]
    rates: Callable[[RateCase, Array], Any]
    expresses: frozenset[str]
    reach: str = "any"

    @property
    def framework(self) -> str:
        """The package in whose process it computes."""
        return "tensorflow" if self.packages == ("keras_sgdr",) else self.packages[-1]


def positions(case: RateCase, reach: str) -> tuple[Array, list[int]]:
    """The updates at which a case is looked at, and its restarts among them.

    All updates of the case's own run, and each restart with its two neighbours as far as the reach goes. Where peaks
    decay to nothing that is the run too.
    """
    decays = (case.eta_max_decay, case.eta_min_decay) != (1, 1)
    stop = case.updates if reach == "run" or decays else FARTHEST
    begins = itertools.takewhile(lambda begin: begin < stop, (begin for _, begin, _ in cycles(case)))
    stop = math.ceil(next(itertools.islice(begins, MOST_CYCLES[reach], None), stop))
    firsts = [first for first in restarts(case, stop) if first + 1 < stop]
    around = np.array(firsts, np.int64)[:, None] + np.array([-1, 0, 1])
    return np.union1d(np.arange(min(case.updates, stop)), around), firsts


# The libraries
# ------------------------------------------------------------------------


def ours_array(case: RateCase, k: Array) -> Any:
    from keras_sgdr import WarmRestarts

    epochs = int(k[-1]) // case.steps_per_epoch + 1
    return WarmRestarts(eta_max=case.eta_max, **case.settings).learning_rates(epochs, case.steps_per_epoch)[k]


def ours_schedule(case: RateCase, k: Array) -> Any:
    from keras_sgdr import SGDRSchedule
    from parity_tests.rates.keras_side import vectorised

    schedule = SGDRSchedule(eta_max=case.eta_max, steps_per_epoch=case.steps_per_epoch, **case.settings)
    return vectorised([schedule], [k])[0]


def keras_decay_restarts(case: RateCase, k: Array) -> Any:
    import keras
    import tensorflow as tf

    schedule = keras.optimizers.schedules.CosineDecayRestarts(
        case.eta_max,
        first_updates(case),
        t_mul=float(case.T_mult),
        m_mul=case.eta_max_decay,
        alpha=case.eta_min / case.eta_max,
    )
    if case.T_mult == 1:
        return tf.function(schedule)(tf.constant(k))
    # One update at a time, as an optimizer asks: TensorFlow's logarithm of a scalar differs from that of a vector, and
    # with it which restarts are missed.
    return tf.function(lambda steps: tf.map_fn(schedule, steps, fn_output_signature=tf.float32))(tf.constant(k))


def torch_step(case: RateCase, k: Array) -> Any:
    scheduler = torch_scheduler(case)
    rates = []
    for _ in k:
        rates.append(scheduler.get_last_lr()[0])
        scheduler.step()
    return rates


def torch_step_epoch(case: RateCase, k: Array) -> Any:
    scheduler = torch_scheduler(case)

    def rate(update: int) -> float:
        scheduler.step(update)
        return float(scheduler.get_last_lr()[0])

    return [rate(update) for update in k.tolist()]


def torch_scheduler(case: RateCase) -> Any:
    from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

    scheduler = CosineAnnealingWarmRestarts(sgd(case), first_updates(case), int(case.T_mult), case.eta_min)
    scheduler.optimizer.step()  # PyTorch warns of a scheduler that is stepped before any update.
    return scheduler


def timm_cosine(case: RateCase, k: Array) -> Any:
    from timm.scheduler.cosine_lr import CosineLRScheduler

    optimizer = sgd(case)
    scheduler = CosineLRScheduler(
        optimizer,
        first_updates(case),
        lr_min=case.eta_min,
        cycle_mul=float(case.T_mult),
        cycle_decay=case.eta_max_decay,
        cycle_limit=case.cycle_limit or sys.maxsize,
        warmup_t=int(case.warmup * case.steps_per_epoch),
        warmup_lr_init=case.eta_min,
        warmup_prefix=True,
        t_in_epochs=False,
    )

    def rate(update: int) -> float:
        try:
            scheduler.step_update(update)
        except ValueError:  # The logarithm of a negative number, where shrinking cycles have come to their end.
            return math.nan
        return float(optimizer.param_groups[0]["lr"])

    return [rate(update) for update in k.tolist()]


def optax_sgdr(case: RateCase, k: Array) -> Any:
    import jax
    import optax

    warmup = int(case.warmup * case.steps_per_epoch)
    schedule = optax.sgdr_schedule(
        [
            {
                "init_value": eta_min if i == 0 and warmup else eta_max,
                "peak_value": eta_max,
                "warmup_steps": warmup if i == 0 else 0,
                "decay_steps": updates + (warmup if i == 0 else 0),
                "end_value": eta_min,
            }
            for i, updates, eta_max, eta_min in laid_out(case, int(k[-1]))
        ]
    )
    return jax.jit(schedule)(k)


def optax_join(case: RateCase, k: Array) -> Any:
    import jax
    import optax

    warmup = int(case.warmup * case.steps_per_epoch)
    schedules, boundaries = [], [warmup] if warmup else []
    if warmup:
        schedules.append(optax.linear_schedule(case.eta_min, case.eta_max, warmup))
    for _, updates, eta_max, eta_min in laid_out(case, int(k[-1])):
        steps = updates - 1 if case.end == "inclusive" else updates
        annealing = optax.cosine_decay_schedule(eta_max, steps, alpha=eta_min / eta_max) if steps else None
        schedules.append(annealing or optax.constant_schedule(eta_max))
        boundaries.append((boundaries[-1] if boundaries else 0) + updates)
    return jax.jit(optax.join_schedules(schedules, boundaries[:-1]))(k)


def hugging_face(case: RateCase, k: Array) -> Any:
    from transformers import get_cosine_with_hard_restarts_schedule_with_warmup

    number = case.cycle_limit or int(k[-1]) // first_updates(case) + 1
    warmup = int(case.warmup * case.steps_per_epoch)
    scheduler = get_cosine_with_hard_restarts_schedule_with_warmup(
        sgd(case), warmup, warmup + number * first_updates(case), number
    )
    return [case.eta_max * scheduler.lr_lambdas[0](update) for update in k.tolist()]


def first_updates(case: RateCase) -> int:
    return int(case.T_0 * case.steps_per_epoch)


def laid_out(case: RateCase, last: int) -> Iterator[tuple[int, int, float, float]]:
    """Number, updates, eta_max and eta_min of each cycle up to update `last`, for libraries that take a list."""
    for i, begin, length in cycles(case):
        if begin > last:
            return
        eta_max = case.eta_max * case.eta_max_decay**i
        yield i, int(length), eta_max, min(case.eta_min * case.eta_min_decay**i, eta_max)


def sgd(case: RateCase) -> Any:
    import torch

    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=case.eta_max)


TIMM = (ANY_GROWTH | ALL_BUT_FRACTIONS) - {"eta_max that decays below eta_min", "decay of eta_min"}

INCUMBENTS: tuple[Incumbent, ...] = (
    Incumbent("keras_sgdr WarmRestarts", ("keras_sgdr",), ours_array, EVERYTHING),
    Incumbent("keras_sgdr SGDRSchedule", ("keras_sgdr", "tensorflow"), ours_schedule, EVERYTHING),
    Incumbent(
        "Keras CosineDecayRestarts", ("keras", "tensorflow"), keras_decay_restarts, ANY_GROWTH | {"decay of eta_max"}
    ),
    Incumbent("PyTorch step()", ("torch",), torch_step, GROWTH, "run"),
    Incumbent("PyTorch step(epoch)", ("torch",), torch_step_epoch, GROWTH),
    Incumbent("timm CosineLRScheduler", ("timm", "torch"), timm_cosine, TIMM),
    Incumbent("optax sgdr_schedule", ("optax", "jax"), optax_sgdr, ALL_BUT_FRACTIONS, "cycles"),
    Incumbent("optax join_schedules", ("optax", "jax"), optax_join, ALL_BUT_FRACTIONS | {"inclusive end"}, "cycles"),
    Incumbent(
        "Hugging Face hard restarts",
        ("transformers", "torch"),
        hugging_face,
        frozenset({"warmup", "a number of cycles"}),
    ),
)


def arrays(config: dict[str, Any]) -> Arrays:
    """The rates of "cases", names and epochs, by "incumbents", at `positions(...)`, under "INCUMBENT/CASE"."""
    cases = [replace(case, epochs=config["cases"][case.name]) for case in RATE_CASES if case.name in config["cases"]]
    return {
        f"{incumbent.name}/{case.name}": np.asarray(incumbent.rates(case, positions(case, incumbent.reach)[0]))
        for incumbent in INCUMBENTS
        for case in cases
        if incumbent.name in config["incumbents"] and needs(case) <= incumbent.expresses
    }
