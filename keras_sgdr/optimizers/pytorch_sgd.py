"""SGD with PyTorch's form of momentum, as a Keras optimizer."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import ops

from keras_sgdr._checks import at_least, require
from keras_sgdr._text import call_of, settings_of
from keras_sgdr.schedules.exact import check_held

__all__ = ["PyTorchSGD"]


@keras.saving.register_keras_serializable(package="keras_sgdr")
class PyTorchSGD(keras.optimizers.Optimizer):
    """SGD as in `torch.optim.SGD`: the rate stays out of the momentum buffer.

        g = g + weight_decay * p
        b = momentum * b + g
        p = p - learning_rate * b              (nesterov: p - learning_rate * (g + momentum * b))

    `keras.optimizers.SGD` keeps the rate in its velocity: `m = momentum * m - learning_rate * g; p = p + m`.
    Under a constant rate both make the same steps. When it changes they do not: at a restart from a low to a high
    rate, this form scales the whole buffer by the new rate at once, Keras's form only the new gradient.

    `momentum` and `weight_decay` enter the update in the precision of the variable. (`keras.optimizers.SGD` on the
    TensorFlow backend rounds them to float32 even for float64 variables: there 0.9 is 0.8999999761581421.)

    Example:

    ```python
    model.compile(keras_sgdr.optimizers.PyTorchSGD(0.01, momentum=0.9), loss=...)
    ```

    Args:
        learning_rate: A float, a schedule, or a callable without arguments.
        momentum: At least 0; 0 keeps no buffer.
        nesterov: Whether to step along `g + momentum * b` in place of `b`; needs momentum.
        weight_decay: Coupled L2, added to the gradient after clipping, as in `torch.optim.SGD`. Every other
            Keras optimizer means decoupled decay by this name. `exclude_from_weight_decay` works as it does there.
        **kwargs: What every `keras.optimizers.Optimizer` takes: clipping, `gradient_accumulation_steps`,
            `use_ema`, `name` and so on.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = 0.0,
        **kwargs: Any,
    ) -> None:
        if not callable(learning_rate):
            at_least("learning_rate", learning_rate, 0, "Pass a float such as 0.01, a schedule or a callable.")
            learning_rate = float(learning_rate)
        at_least("momentum", momentum, 0, "Pass a number such as 0.9, or 0 for none.")
        rule = "`momentum` must be positive where `nesterov` is True."
        require(momentum > 0 or not nesterov, rule, "momentum", momentum, "Pass a number such as 0.9.")
        at_least("weight_decay", 0.0 if weight_decay is None else weight_decay, 0, "Pass 0 for none.")
        weight_decay = None if weight_decay is None else float(weight_decay)
        rate = 0.0 if callable(learning_rate) else learning_rate
        for name, value in (("learning_rate", rate), ("momentum", momentum), ("weight_decay", weight_decay or 0.0)):
            check_held(name, value, keras.config.floatx(), "Pass another value.")
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
        self.momentum = float(momentum)
        self.nesterov = bool(nesterov)

    def build(self, variables: list[Any]) -> None:
        """Create a momentum buffer of zeros for each variable, unless momentum is 0."""
        if self.built:
            return
        super().build(variables)
        self.momentum_buffers = self.add_optimizer_variables(variables, "momentum") if self.momentum else []

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update `variable`, of any shape, given its gradient, already unscaled, averaged and clipped."""
        # Not `ops.cast`: on TensorFlow that makes a Python float a float32 on its way to float64.
        exactly = partial(ops.convert_to_tensor, dtype=variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if self.weight_decay and self._use_weight_decay(variable):
            gradient = ops.add(gradient, ops.multiply(variable, exactly(self.weight_decay)))
        if self.momentum:
            momentum = exactly(self.momentum)
            buffer = self.momentum_buffers[self._get_variable_index(variable)]
            # A buffer of zeros makes the first one `b = g`, so PyTorch's special first step needs no case here.
            self.assign(buffer, ops.add(ops.multiply(buffer, momentum), gradient))
            gradient = ops.add(gradient, ops.multiply(buffer, momentum)) if self.nesterov else buffer
        self.assign_sub(variable, ops.multiply(gradient, exactly(learning_rate)))

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        # The base class would decay the variables themselves, decoupled; here it is part of the gradient.
        del variables

    def __repr__(self) -> str:
        return call_of(self, settings_of(self))

    def get_config(self) -> dict[str, Any]:
        """The settings from which `from_config` makes the same optimizer."""
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}
