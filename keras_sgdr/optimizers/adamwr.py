"""AdamWR: Adam with decoupled weight decay, under warm restarts."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_sgdr.arguments import is_number, require
from keras_sgdr.optimizers.precision import exactly

__all__ = ["AdamWR"]


@keras.saving.register_keras_serializable(package="keras_sgdr")
class AdamWR(keras.optimizers.Optimizer):
    """Adam with decoupled weight decay that is normalised at every warm restart (arXiv 1711.05101).

    Algorithm 2 of Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, with the normalised decay
    of appendix B.1. In an update at the rate `eta_t * alpha`, in a cycle of `T_i` epochs,

        m = beta_1 * m + (1 - beta_1) * g                   m_hat = m / (1 - beta_1**t)
        v = beta_2 * v + (1 - beta_2) * g**2                v_hat = v / (1 - beta_2**t)
        theta = theta - eta_t * (alpha * m_hat / (sqrt(v_hat) + epsilon) + lambda_i * theta)

    where `lambda_i = lambda_norm * sqrt(b / (B * T_i))`: `b` samples a batch, `B` an epoch, so that
    `lambda_i = lambda_norm / sqrt(updates of the cycle)`. A longer cycle decays less at each update.

    It differs from `keras.optimizers.AdamW` in that the decay is normalised, in that it does not depend on `alpha`
    (`AdamW` decays by `rate * weight_decay`), and in that `epsilon` is added to `sqrt(v_hat)`, as in the paper and in
    PyTorch, not to `sqrt(v)`.

    `SGDR` gives the rate and the updates of the cycle, both at exactly the restart. `alpha` is `eta_max`, for good:
    the multiplier `eta_t` is the rate in force over `eta_max`, and 1 at a restart of `SGDR()`, whose peak is the
    optimizer's own rate. Whatever scales the rate scales the decay with it: `eta_max_decay`, warmup, another
    `eta_max` in `SGDR(eta_max=...)`, or a rate set on the optimizer. So choose `alpha` here, and leave `SGDR`'s
    `eta_max` alone.

    During warmup the decay is that of the first cycle's length, after the last of limited cycles that of the last
    one's, and under a schedule without cycles that of the whole `fit`: `T_i` is its `epochs`. Under gradient
    accumulation the updates are those that are applied.

    Example:

    >>> model.compile(AdamWR(0.001, lambda_norm=0.025), loss="mse")
    >>> model.fit(x, y, epochs=70, callbacks=[SGDR(T_0=10, T_mult=2)])

    In a loop of your own set the rate, as of any optimizer, and at each restart `optimizer.cycle_updates`.

    Args:
        eta_max: `alpha`, the rate at a restart.
        lambda_norm: normalised weight decay. The paper's are 0.025 to 0.05; 0 for none.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squared gradients, in [0, 1).
        epsilon: added to `sqrt(v_hat)`.
        learning_rate: the rate where `SGDR` sets none, a float, a schedule or a callable; None for `eta_max`.
        **kwargs: what every `keras.optimizers.Optimizer` takes, but for `weight_decay`: clipping,
            `gradient_accumulation_steps`, `use_ema`, `name` and so on. `exclude_from_weight_decay` works as it does
            there.

    Raises:
        ValueError: if an argument is outside its range; at the first update, if neither `SGDR` nor `cycle_updates`
            has told how long the cycle is.
    """

    def __init__(
        self,
        eta_max: float = 0.001,
        lambda_norm: float = 0.025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        learning_rate: Any = None,
        **kwargs: Any,
    ) -> None:
        require(
            is_number(eta_max) and eta_max > 0,
            "`eta_max` must be a finite positive number.",
            "eta_max",
            eta_max,
            "Pass the rate at a restart, such as eta_max=0.001.",
        )
        require(
            is_number(lambda_norm) and lambda_norm >= 0,
            "`lambda_norm` must be a finite number, 0 or more.",
            "lambda_norm",
            lambda_norm,
            "Pass a normalised decay, such as lambda_norm=0.025, or 0 for none.",
        )
        for name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            require(
                is_number(beta) and 0 <= beta < 1,
                f"`{name}` must be a number in [0, 1).",
                name,
                beta,
                f"Pass {name}={'0.9' if name == 'beta_1' else '0.999'}, the paper's.",
            )
        require(
            is_number(epsilon) and epsilon > 0,
            "`epsilon` must be a finite positive number.",
            "epsilon",
            epsilon,
            "Pass epsilon=1e-8, the paper's.",
        )
        require(
            kwargs.get("weight_decay") is None,
            "The decay of `AdamWR` is `lambda_norm`, normalised by the length of the cycle.",
            "weight_decay",
            kwargs.get("weight_decay"),
            "Pass `lambda_norm`, or use `keras.optimizers.AdamW`.",
        )
        super().__init__(learning_rate=float(eta_max) if learning_rate is None else learning_rate, **kwargs)
        self.eta_max = float(eta_max)
        self.lambda_norm = float(lambda_norm)
        self.beta_1 = float(beta_1)
        self.beta_2 = float(beta_2)
        self.epsilon = float(epsilon)
        # Variable, as the rate is, so that a compiled loop sees it change; `SGDR` puts a `FitRate` in its place.
        self._cycle_updates = self.add_variable((), name="cycle_updates", aggregation="only_first_replica")
        self._cycle_is_known = False

    @property
    def cycle_updates(self) -> Any:
        """Updates of the present cycle: `T_i` times those of an epoch. Set it at each restart of a loop of your own."""
        own = isinstance(self._cycle_updates, keras.Variable)
        return self._cycle_updates if own else self._cycle_updates()

    @cycle_updates.setter
    def cycle_updates(self, value: float) -> None:
        require(
            is_number(value) and value > 0,
            "`cycle_updates` must be a finite positive number.",
            "cycle_updates",
            value,
            "Pass the updates of the present cycle: `T_i` times those of an epoch.",
        )
        self._cycle_updates.assign(value)
        self._cycle_is_known = True

    def build(self, variables: list[Any]) -> None:
        """Create `m` and `v`, zeros, for each variable."""
        if self.built:
            return
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Update the variables, if it is known how long the cycle is."""
        # Here, before Keras builds the optimizer: TensorFlow leaves variables made in a step that fails without value.
        if self.lambda_norm and isinstance(self._cycle_updates, keras.Variable) and not self._cycle_is_known:
            raise ValueError(
                "`AdamWR` normalises its decay by the length of the present cycle, so it must know that. "
                "Received: no cycle_updates. Pass `SGDR` to `fit`, or, in a loop of your own, set "
                "`optimizer.cycle_updates` at each restart: `T_i` times the updates of an epoch."
            )
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update `variable`, of any shape, given its gradient, already unscaled, averaged and clipped."""
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        rate = exactly(learning_rate, dtype)
        index = self._get_variable_index(variable)
        m, v = self.momentums[index], self.velocities[index]
        # In this form Keras takes the sparse gradient of an embedding too.
        self.assign_add(m, ops.multiply(ops.subtract(gradient, m), exactly(1 - self.beta_1, dtype)))
        self.assign_add(v, ops.multiply(ops.subtract(ops.square(gradient), v), exactly(1 - self.beta_2, dtype)))
        t = ops.cast(self.iterations + 1, dtype)
        m_hat = m / (1 - ops.power(exactly(self.beta_1, dtype), t))
        v_hat = v / (1 - ops.power(exactly(self.beta_2, dtype), t))
        step = rate * m_hat / (ops.sqrt(v_hat) + exactly(self.epsilon, dtype))
        if self.lambda_norm and self._use_weight_decay(variable):
            lambda_i = exactly(self.lambda_norm, dtype) / ops.sqrt(exactly(self.cycle_updates, dtype))
            step = step + rate / exactly(self.eta_max, dtype) * lambda_i * variable
        self.assign_sub(variable, step)

    def load_own_variables(self, store: Any) -> None:
        """Restore the state."""
        super().load_own_variables(store)
        own = self._cycle_updates if isinstance(self._cycle_updates, keras.Variable) else self._cycle_updates.own
        self._cycle_is_known = bool(ops.convert_to_numpy(own) > 0)

    def get_config(self) -> dict[str, Any]:
        """The settings from which `from_config` makes the same optimizer."""
        settings = ("eta_max", "lambda_norm", "beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in settings}}
