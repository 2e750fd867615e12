"""What PyTorch does not have: Keras's form of SGD with momentum, and AdamWR."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch.optim import Optimizer

from torch_reference._checks import as_number, not_negative, positive, require, written

__all__ = ["AdamWR", "KerasSGD"]


class _ByParameter(Optimizer):
    """An optimizer whose update of a parameter depends on that parameter's own gradients."""

    def __init__(
        self, params: Iterable[torch.Tensor] | Iterable[dict[str, Any]], lr: float | torch.Tensor, **defaults: Any
    ) -> None:
        super().__init__(params, {"lr": lr if isinstance(lr, torch.Tensor) else float(lr), **defaults})
        # What is remembered of a rate is a number: schedulers fill a tensor in place.
        self.defaults["lr"] = float(lr)

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
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group)
        return loss

    def _update(self, p: Any, group: dict[str, Any]) -> None:
        """Update a parameter, which has a gradient, by the settings of its group."""
        raise NotImplementedError


class KerasSGD(_ByParameter):
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
        lr: Learning rate, also a tensor of one number, which schedulers fill.
        momentum: From 0 (no velocity is kept) to 1.
        nesterov: Look ahead along the velocity; without momentum it changes nothing, as in Keras.
        weight_decay: Decoupled decay.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        lr: float | torch.Tensor,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        not_negative("lr", lr, "Pass a rate such as lr=0.01.")
        valid = 0 <= as_number(momentum) <= 1
        require(valid, "`momentum` must lie in [0, 1].", f"momentum={written(momentum)}", "A usual value is 0.9.")
        not_negative("weight_decay", weight_decay, "Pass 0 for none.")
        settings = {"momentum": float(momentum), "weight_decay": float(weight_decay)}
        super().__init__(params, lr, nesterov=nesterov, **settings)

    def _update(self, p: Any, group: dict[str, Any]) -> None:
        lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
        if decay != 0:
            p.sub_(p * decay * lr)
        # Products first, then sums, never `add_(..., alpha=lr)`: a fused multiply-add rounds once where Keras rounds
        # twice.
        step = p.grad * lr
        if momentum == 0:
            p.sub_(step)
            return
        state = self.state[p]
        if not state:
            state["velocity"] = torch.zeros_like(p)
        m = state["velocity"]
        m.mul_(momentum).sub_(step)
        p.add_(m * momentum - step if group["nesterov"] else m)


class AdamWR(_ByParameter):
    """Adam with decoupled weight decay, normalised at every restart (Loshchilov & Hutter, arXiv 1711.05101).

    Algorithm 2 of the paper, with the normalised decay of appendix B.1, at the rate `lr = eta_t * alpha`:

        m = beta_1 * m + (1 - beta_1) * g                   m_hat = m / (1 - beta_1**t)
        v = beta_2 * v + (1 - beta_2) * g**2                v_hat = v / (1 - beta_2**t)
        p = p - eta_t * (alpha * m_hat / (sqrt(v_hat) + eps) + lambda_i * p)

    `alpha` is the rate that a group begins with, in the group as "eta_max", a number. `schedulers.SGDR` sets beside
    each group's rate its `lambda_i = lambda_norm * sqrt(b / (B * T_i))`, in the group as "lambda_i"; without that
    scheduler set it there at every restart. (`torch.optim.AdamW` decays by `lr * weight_decay`, whatever the cycle.)

    Args:
        params: parameters, or groups of them.
        lr: `alpha`, also a tensor of one number, which schedulers fill.
        lambda_norm: Normalised weight decay; the paper's are 0.025 to 0.05.
        betas: Decay of the means of gradients and of their squares, each in [0, 1).
        eps: Added to the root of the corrected mean of squares.

    Raises:
        ValueError: If an argument is outside its range; in `step`, if a group has no `lambda_i`.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        lr: float | torch.Tensor = 0.001,
        lambda_norm: float = 0.025,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        positive("lr", lr, "Pass a rate such as lr=0.001.")
        not_negative("lambda_norm", lambda_norm, "A usual value is 0.025.")
        valid = isinstance(betas, tuple | list) and len(betas) == 2 and all(0 <= as_number(beta) < 1 for beta in betas)
        require(valid, "`betas` must lie in [0, 1).", f"betas={written(betas)}", "Usual ones are (0.9, 0.999).")
        positive("eps", eps, "A usual value is 1e-8.")
        super().__init__(params, lr, lambda_norm=lambda_norm, betas=betas, eps=eps, lambda_i=None)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose rate is its eta_max.

        Raises:
            ValueError: If the rate is not positive.
        """
        positive("lr", {**self.defaults, **param_group}["lr"], "Pass a rate such as lr=0.001.")
        super().add_param_group(param_group)
        # A number, as in `defaults`: it never changes, and the rate's own tensor does.
        self.param_groups[-1].setdefault("eta_max", float(self.param_groups[-1]["lr"]))

    def _update(self, p: Any, group: dict[str, Any]) -> None:
        rule = "The decay is normalised by the length of the cycle."
        fix = 'Step `schedulers.SGDR` beside this optimizer, or set "lambda_i" in its groups at every restart.'
        require(group["lambda_i"] is not None, rule, "lambda_i=None", fix)
        eta_t, (beta_1, beta_2) = group["lr"] / group["eta_max"], group["betas"]
        state = self.state[p]
        if not state:
            state.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
        state["t"] += 1
        m, v = state["m"], state["v"]
        m.mul_(beta_1).add_(p.grad * (1 - beta_1))
        v.mul_(beta_2).add_(p.grad * p.grad * (1 - beta_2))
        m_hat = m / (1 - beta_1 ** state["t"])
        v_hat = v / (1 - beta_2 ** state["t"])
        adam = group["eta_max"] * m_hat / (v_hat.sqrt() + group["eps"])
        p.sub_(eta_t * (adam + group["lambda_i"] * p))
