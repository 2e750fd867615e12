"""Learning rate schedules for PyTorch, stepped once a batch: SGDR and step decay.

Both are pure functions of the number of updates made so far, so a resume at any batch, by `load_state_dict`
or by `last_epoch`, goes on with the very numbers that an unbroken run would have used.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from torch_reference._checks import as_number, count, factor, not_negative, positive, require, written
from torch_reference.cycles import Cycle, Cycles

__all__ = ["SGDR", "StepDecay"]


class _ByUpdate(LRScheduler):
    """A scheduler whose rates are a function of the update, of each group's own first rate, and of its
    `"rate_multiplier"`, where it has one.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int) -> None:
        count("last_epoch", last_epoch, "Pass the index of the last update made, -1 for none.", least=-1)
        super().__init__(optimizer, int(last_epoch))

    def get_lr(self) -> list[float | Tensor]:
        """The rate of each group for update `last_epoch`, a tensor where the group has one. From outside, call
        `get_last_lr()`.
        """
        if self._get_lr_called_within_step:
            self._set_decays()
        else:
            warnings.warn("To get the last rates, call `get_last_lr()`.", UserWarning, stacklevel=2)
        rates = [
            self._eta(float(eta_max), self.last_epoch) * group.get("rate_multiplier", 1.0)
            for group, eta_max in zip(self.optimizer.param_groups, self.base_lrs, strict=True)
        ]
        return [
            torch.full_like(group["lr"], rate) if isinstance(group["lr"], Tensor) else rate
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True)
        ]

    def step(self, epoch: int | None = None) -> None:
        """Set the rate of the next update.

        Raises:
            ValueError: If `epoch`, PyTorch's name for the number of the update, is none.
        """
        if epoch is not None:
            count("epoch", epoch, "Call `step()` without it after each update.", least=0)
        super().step(epoch)

    def _set_decays(self) -> None:
        """Set what goes with the rates. Called by `get_lr`, which every version of PyTorch calls wherever it sets them:
        in `step`, and alone at a milestone of `SequentialLR`.
        """

    def _eta(self, eta_max_0: float, step: int) -> float:
        """The rate for update `step` of a group that began with `eta_max_0`."""
        raise NotImplementedError


def _require_optimizer(optimizer: object) -> None:
    if not isinstance(optimizer, Optimizer):  # PyTorch's own schedulers raise a `TypeError`.
        raise TypeError(
            "`optimizer` must be one of PyTorch's. "
            f"Received: optimizer={written(optimizer)}, which is not an Optimizer. Pass such as torch.optim.SGD(...)."
        )


class SGDR(_ByUpdate):
    """Cosine annealing with warm restarts (Loshchilov & Hutter, arXiv 1608.03983), exact at every restart.

    Update `k`, counted from 0, is made at `t = k / steps_per_epoch` epochs. In cycle `i`, which begins at
    `t_i` and lasts `T_i = T_0 * T_mult**i` epochs, the rate is equation (5) of the paper, in float64:

        eta = eta_min_i + 1/2 (eta_max_i - eta_min_i) (1 + cos(pi T_cur / T_i)),    T_cur = t - t_i

    The cycle of an update and `T_cur / T_i` are computed in integers: no logarithm, no accumulated rounding.
    Call `step()` after every `optimizer.step()`. Each parameter group is annealed from its own initial rate; that of
    one with a `"rate_multiplier"` (see `groups.rate_groups`) is multiplied by it. The groups of an `optimizers.AdamWR`
    also get the decay of the cycle; in warmup that of the first, after the last its own.

    To resume before update `k`, load the state dicts of both optimizer and scheduler, or make the scheduler
    anew with `last_epoch=k - 1` on an optimizer whose groups hold `initial_lr`. (`last_epoch` is PyTorch's
    name for the number of `step()` calls; here that is a number of updates.)

    Args:
        optimizer: The optimizer; the rate of each group is that group's eta_max.
        T_0: Length of the first cycle, in epochs; may be a fraction.
        T_mult: Each cycle is this many times as long as the one before; may be a fraction, also below 1. Then
            cycles shorter than 1e-6 epochs are not run, and the last eta_min is held from there on.
        eta_min: Rate towards which every cycle anneals.
        steps_per_epoch: Updates in an epoch.
        eta_max_decay: Factor on eta_max at every restart, at most 1.
        eta_min_decay: Factor on eta_min at every restart, at most 1. eta_min_i is never above eta_max_i.
        warmup: Epochs of linear rise from eta_min to eta_max before the first cycle; may be a fraction.
        cycle_limit: After this many cycles the last eta_min is held. None: no end.
        end: "exclusive", `T_cur` runs over [0, T_i) and eta_min is approached but not reached; "inclusive",
            the last update of a cycle is made at exactly eta_min_i.
        last_epoch: Index of the last update made, -1 for none.

    Raises:
        ValueError: If an argument is outside its range; in `step`, if it takes more cycles to get to the update than
            can be walked in a second, which only a T_mult near 1 does.
        TypeError: If `optimizer` is none.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: float,
        T_mult: float = 2,
        eta_min: float = 0.0,
        *,
        steps_per_epoch: int,
        eta_max_decay: float = 1.0,
        eta_min_decay: float = 1.0,
        warmup: float = 0.0,
        cycle_limit: int | None = None,
        end: Literal["exclusive", "inclusive"] = "exclusive",
        last_epoch: int = -1,
    ) -> None:
        _require_optimizer(optimizer)
        positive("T_0", T_0, "Pass the length of the first cycle in epochs, such as T_0=10.")
        positive("T_mult", T_mult, "Pass the growth of the cycles, such as T_mult=2.")
        factor("eta_max_decay", eta_max_decay, "Pass a factor for each restart, such as eta_max_decay=0.5.")
        factor("eta_min_decay", eta_min_decay, "Pass a factor for each restart, such as eta_min_decay=0.5.")
        not_negative("eta_min", eta_min, "Pass the lowest rate, such as eta_min=0.0.")
        not_negative("warmup", warmup, "Pass the epochs before the first cycle, such as warmup=0.5.")
        count("steps_per_epoch", steps_per_epoch, "Pass the number of batches in an epoch.")
        if cycle_limit is not None:
            count("cycle_limit", cycle_limit, "Pass the number of cycles to run, or None for no end.")
        rule, fix = (
            "`end` must be 'exclusive' or 'inclusive'.",
            "Pass 'inclusive' to end each cycle at exactly eta_min.",
        )
        require(isinstance(end, str) and end in ("exclusive", "inclusive"), rule, f"end={written(end)}", fix)
        for index, group in enumerate(optimizer.param_groups):
            eta_max = as_number(group.get("initial_lr", group["lr"]))
            rule, fix = (
                "`eta_min` must not be above the rate of a parameter group.",
                "Lower eta_min or raise that rate.",
            )
            require(eta_min <= eta_max, rule, f"eta_min={eta_min} and lr={eta_max} in group {index}", fix)

        self.T_0 = float(T_0)
        self.T_mult = float(T_mult)
        self.eta_min = float(eta_min)
        self.steps_per_epoch = int(steps_per_epoch)
        self.eta_max_decay = float(eta_max_decay)
        self.eta_min_decay = float(eta_min_decay)
        self.warmup = float(warmup)
        self.cycle_limit = None if cycle_limit is None else int(cycle_limit)
        self.end = end
        self._cycles = _cycles_of(vars(self))
        super().__init__(optimizer, last_epoch)

    def cycle_at(self, step: int) -> Cycle:
        """The cycle of update `step`: the first one also during warmup, the last one also after its end."""
        return self._cycles.at(step)

    def _set_decays(self) -> None:
        """Set in the groups of an `AdamWR` the normalised decay of the update's cycle.

        That is `lambda_norm * sqrt(b / (B * T_i))`, with `B / b` updates in an epoch (arXiv 1711.05101, appendix B.1).
        """
        for group in self.optimizer.param_groups:
            if "lambda_norm" in group:
                T_i = float(self._cycles.at(self.last_epoch).length / self.steps_per_epoch)
                group["lambda_i"] = group["lambda_norm"] * math.sqrt(1 / (self.steps_per_epoch * T_i))

    def state_dict(self) -> dict[str, Any]:
        """The count of updates and the settings, plain numbers that `torch.load(weights_only=True)` reads."""
        return {name: value for name, value in super().state_dict().items() if name != "_cycles"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore count and settings. The rate in force is in the optimizer's state dict: load that too."""
        cycles = _cycles_of(state_dict)  # First: of settings that are none, nothing is taken over.
        super().load_state_dict(state_dict)
        self._cycles = cycles

    def _eta(self, eta_max_0: float, step: int) -> float:
        cycle = self._cycles.at(step)
        eta_max = eta_max_0 * self.eta_max_decay**cycle.index
        eta_min = min(self.eta_min * self.eta_min_decay**cycle.index, eta_max)
        start, length = cycle.start, cycle.length
        # Python rounds the quotient of two integers correctly: each is the float64 nearest to the exact
        # ratio.
        if step < cycle.first:
            return eta_min + (eta_max - eta_min) * (step * start.denominator / start.numerator)
        if step >= cycle.stop:
            return eta_min
        T_cur = step * start.denominator - start.numerator  # in units of 1 / start.denominator updates
        if self.end == "exclusive":
            x = T_cur * length.denominator / (length.numerator * start.denominator)
        else:
            last = cycle.stop - 1
            if cycle.first == last:
                return eta_max
            if step == last:
                return eta_min
            x = T_cur / (last * start.denominator - start.numerator)
        if T_cur == 0:
            return eta_max
        return float(eta_min + 0.5 * (eta_max - eta_min) * (1 + np.cos(np.pi * x)))


def _cycles_of(settings: dict[str, Any]) -> Cycles:
    names = ("T_0", "T_mult", "warmup", "cycle_limit", "steps_per_epoch")
    return Cycles(*(settings[name] for name in names))


class StepDecay(_ByUpdate):
    """The baseline: the rate times `gamma` after every `step_size` epochs, held through each epoch.

    PyTorch's `StepLR` counted in epochs, for a loop that steps its scheduler once a batch.

    Args:
        optimizer: The optimizer; each group decays from its own rate.
        step_size: Epochs between two decays, an integer.
        gamma: Factor of each decay, at most 1.
        steps_per_epoch: Updates in an epoch.
        last_epoch: Index of the last update made, -1 for none.

    Raises:
        ValueError: If an argument is outside its range.
        TypeError: If `optimizer` is none.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int = 60,
        gamma: float = 0.1,
        *,
        steps_per_epoch: int,
        last_epoch: int = -1,
    ) -> None:
        _require_optimizer(optimizer)
        count("step_size", step_size, "Pass the epochs between two decays, such as step_size=60.")
        factor("gamma", gamma, "Pass the factor of each decay, such as gamma=0.1.")
        count("steps_per_epoch", steps_per_epoch, "Pass the number of batches in an epoch.")
        self.step_size = int(step_size)
        self.gamma = float(gamma)
        self.steps_per_epoch = int(steps_per_epoch)
        super().__init__(optimizer, last_epoch)

    def _eta(self, eta_max_0: float, step: int) -> float:
        return eta_max_0 * self.gamma ** (step // self.steps_per_epoch // self.step_size)
