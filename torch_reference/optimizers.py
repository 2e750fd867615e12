"""Keras's form of SGD with momentum as a PyTorch optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch.optim import Optimizer

__all__ = ["KerasSGD"]


class KerasSGD(Optimizer):
    """SGD as `keras.optimizers.SGD` does it: the rate goes into the velocity.

        m = momentum * m - lr * g
        p = p + m                              (nesterov: p + momentum * m - lr * g)

    `torch.optim.SGD` leaves the rate out of its buffer: `b = momentum * b + g; p = p - lr * b`. Under a
    constant rate both make the same steps. When it changes they do not: at a restart from a low to a high
    rate, PyTorch's form scales the whole buffer by the new rate at once, Keras's form only the new gradient.

    Weight decay is decoupled, as in every Keras optimizer: `p = p - p * weight_decay * lr` before the step.

    Keras on TensorFlow rounds `momentum` and `weight_decay` to float32 even in float64 training. For a
    float64 comparison with it, pass `float(numpy.float32(0.9))` here.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        momentum: from 0 (no velocity is kept) to 1.
        nesterov: look ahead along the velocity; without momentum it changes nothing, as in Keras.
        weight_decay: decoupled decay.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"`lr` must be at least 0. Received: lr={lr}. Pass a rate such as lr=0.01.")
        if not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must lie in [0, 1]. Received: momentum={momentum}. A usual value is 0.9.")
        if not weight_decay >= 0:
            raise ValueError(
                f"`weight_decay` must be at least 0. Received: weight_decay={weight_decay}. Pass 0 for none."
            )
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one update; `closure`, if given, evaluates the model anew and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                if decay != 0:
                    p.sub_(p * decay * lr)
                # Products first, then sums, never `add_(..., alpha=lr)`: a fused multiply-add rounds once
                # where Keras rounds twice.
                step = p.grad * lr
                if momentum == 0:
                    p.sub_(step)
                    continue
                state = self.state[p]
                if not state:
                    state["velocity"] = torch.zeros_like(p)
                m = state["velocity"]
                m.mul_(momentum).sub_(step)
                p.add_(m * momentum - step if group["nesterov"] else m)
        return loss
