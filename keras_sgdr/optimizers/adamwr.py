"""AdamWR: Adam with decoupled weight decay, under warm restarts."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sgdr._checks import at_least, between, invalid, positive, require
from keras_sgdr._text import call_of, settings_of
from keras_sgdr.schedules.exact import check_held, check_precision

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

    `SGDR` sets the rate and the number of updates of the cycle, both at exactly the restart. `alpha` is `eta_max`, and
    never changes: the multiplier `eta_t` is the current rate over `eta_max`, and 1 at a restart of `SGDR()`, whose peak
    is the optimizer's own rate. Whatever scales the rate scales the decay with it: `eta_max_decay`, warmup, another
    peak in `SGDR(eta_max=...)`, or a rate that is set on the optimizer. So choose the rate here, and leave `SGDR`'s
    `eta_max` alone.

    `T_i` is the length of the first cycle during warmup, of the last cycle after a limited number of them, and the
    `epochs` of `fit` under a schedule without cycles. Under gradient accumulation the updates are those that are
    applied.

    Example:

    >>> model.compile(AdamWR(0.001, lambda_norm=0.025), loss="mse")
    >>> model.fit(x, y, epochs=70, callbacks=[SGDR(T_0=10, T_mult=2)])

    In a training loop of your own, set the rate as with any optimizer, and `optimizer.cycle_updates` at each restart.

    Args:
        learning_rate: A float, a schedule, or a callable without arguments. `SGDR` needs a float, and restarts at it.
        lambda_norm: Normalised weight decay. The paper's are 0.025 to 0.05; 0 for none.
        beta_1: Decay of the mean of gradients, in [0, 1).
        beta_2: Decay of the mean of squared gradients, in [0, 1).
        epsilon: Added to `sqrt(v_hat)`.
        eta_max: `alpha`, the rate at which the multiplier is 1. None: `learning_rate`, where it is a float.
        **kwargs: What every `keras.optimizers.Optimizer` takes, except `weight_decay`: clipping,
            `gradient_accumulation_steps`, `use_ema`, `name` and so on. `exclude_from_weight_decay` works as it does
            there.

    Raises:
        ValueError: If an argument is out of range, or `eta_max` is missing; at the first update, if neither `SGDR` nor
            `cycle_updates` has given the length of the cycle.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        lambda_norm: float = 0.025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        eta_max: float | None = None,
        **kwargs: Any,
    ) -> None:
        if callable(learning_rate):
            rule = "`AdamWR` must be given `eta_max` where `learning_rate` is a schedule or a callable."
            require(eta_max is not None, rule, "eta_max", eta_max, "Pass the rate at a restart, such as eta_max=0.001.")
        else:
            at_least("learning_rate", learning_rate, 0, "Pass a float such as 0.001, a schedule or a callable.")
            learning_rate = float(learning_rate)
        name, alpha = ("learning_rate", learning_rate) if eta_max is None else ("eta_max", eta_max)
        positive(name, alpha, f"Pass the rate at a restart, such as {name}=0.001.")
        check_precision(np.array([alpha], np.float64), keras.config.floatx())  # Updates are divided by it.
        at_least("lambda_norm", lambda_norm, 0, "Pass a normalised decay, such as lambda_norm=0.025, or 0 for none.")
        between("beta_1", beta_1, "[0, 1)", "Pass beta_1=0.9, the paper's.")
        between("beta_2", beta_2, "[0, 1)", "Pass beta_2=0.999, the paper's.")
        positive("epsilon", epsilon, "Pass epsilon=1e-8, the paper's.")
        held = (
            ("beta_1", beta_1, 1.0),
            ("beta_2", beta_2, 1.0),
            ("epsilon", epsilon, inf),
            ("lambda_norm", lambda_norm, inf),
        )
        for name, value, below in held:  # Otherwise updates are NaN.
            check_held(name, value, keras.config.floatx(), "Pass a value nearer to the paper's.", below=below)
        rule = "The decay of `AdamWR` is `lambda_norm`, normalised by the length of the cycle."
        decay = kwargs.get("weight_decay")
        require(decay is None, rule, "weight_decay", decay, "Pass `lambda_norm`, or use `keras.optimizers.AdamW`.")
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.eta_max = float(alpha)
        self.lambda_norm = float(lambda_norm)
        self.beta_1 = float(beta_1)
        self.beta_2 = float(beta_2)
        self.epsilon = float(epsilon)
        # A variable, as the rate is, so that a compiled loop sees it change; `SGDR` puts a `RateTable` in its place.
        self._cycle_updates = self.add_variable((), name="cycle_updates", aggregation="only_first_replica")
        self._cycle_is_known = False

    @property
    def cycle_updates(self) -> Any:
        """Updates of the current cycle: `T_i` times those of an epoch. Set it at each restart of a loop of your own."""
        return self._cycle_updates if isinstance(self._cycle_updates, keras.Variable) else self._cycle_updates()

    @cycle_updates.setter
    def cycle_updates(self, value: float) -> None:
        fix = "Pass the updates of the current cycle: `T_i` times those of an epoch."
        positive("cycle_updates", value, fix)
        self._cycle_updates.assign(value)
        self._cycle_is_known = True

    def build(self, variables: list[Any]) -> None:
        """Create `m` and `v`, zeros, for each variable."""
        if self.built:
            return
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Update the variables. The length of the cycle must be known by then."""
        # Here, before Keras builds the optimizer: TensorFlow leaves variables made in a step that fails without value.
        if self.lambda_norm and isinstance(self._cycle_updates, keras.Variable) and not self._cycle_is_known:
            raise invalid(
                "`AdamWR` normalises its decay by the length of the current cycle, so it must be given that.",
                "no cycle_updates",
                "Pass `SGDR` to `fit`, or, in a loop of your own, set `optimizer.cycle_updates` at each restart: `T_i` "
                "times the updates of an epoch.",
            )
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update `variable`, of any shape, given its gradient, already unscaled, averaged and clipped."""
        # Not `ops.cast`: on TensorFlow that makes a Python float a float32 on its way to float64.
        exactly = partial(ops.convert_to_tensor, dtype=variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        rate = exactly(learning_rate)
        index = self._get_variable_index(variable)
        m, v = self.momentums[index], self.velocities[index]
        # In this form Keras takes the sparse gradient of an embedding too.
        self.assign_add(m, ops.multiply(ops.subtract(gradient, m), exactly(1 - self.beta_1)))
        self.assign_add(v, ops.multiply(ops.subtract(ops.square(gradient), v), exactly(1 - self.beta_2)))
        t = ops.cast(self.iterations + 1, variable.dtype)
        m_hat = m / (1 - ops.power(exactly(self.beta_1), t))
        v_hat = v / (1 - ops.power(exactly(self.beta_2), t))
        step = rate * m_hat / (ops.sqrt(v_hat) + exactly(self.epsilon))
        if self.lambda_norm and self._use_weight_decay(variable):
            lambda_i = exactly(self.lambda_norm) / ops.sqrt(exactly(self.cycle_updates))
            step = step + rate / exactly(self.eta_max) * lambda_i * variable
        self.assign_sub(variable, step)

    def load_own_variables(self, store: Any) -> None:
        """Restore the state, the updates of the cycle included."""
        super().load_own_variables(store)
        updates = self._cycle_updates
        variable = updates if isinstance(updates, keras.Variable) else updates.variable
        self._cycle_is_known = bool(ops.convert_to_numpy(variable) > 0)

    def __repr__(self) -> str:
        settings = settings_of(self)
        if settings["eta_max"] == settings["learning_rate"]:
            settings["eta_max"] = None
        return call_of(self, settings)

    def get_config(self) -> dict[str, Any]:
        """The settings from which `from_config` makes the same optimizer."""
        settings = ("eta_max", "lambda_norm", "beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in settings}}
