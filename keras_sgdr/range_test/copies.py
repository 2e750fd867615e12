"""Copies of optimizers, with the same settings and states, and those that they hold within them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_sgdr._checks import invalid
from keras_sgdr._model_state import method_replaced, optimizers_held, optimizers_in, value_of

__all__ = ["Copies", "within"]


class Copies:
    """Copies of several optimizers, one of each, however many others hold it.

    Attributes:
        pairs: Original and copy, by the original's id.
    """

    def __init__(self) -> None:
        self.pairs: dict[int, tuple[Any, Any]] = {}

    def of(self, optimizer: Any, rate: float | None = None) -> Any:
        """An optimizer's copy; a new one, and those inside, have a float rate, or their own rate for None.

        `AdamWR` with a rate has no decay.

        Raises:
            ValueError: If its configuration is not enough to make another.
        """
        if id(optimizer) in self.pairs:
            return self.pairs[id(optimizer)][1]
        held = optimizers_held(optimizer)
        for value in held.values():
            for _, inner in optimizers_in(value):
                self.of(inner, rate)
        inside = {name: self.put_into(value) for name, value in held.items()}
        try:
            if isinstance(optimizer, keras.optimizers.MultiOptimizer):
                copy = self._of_several(optimizer, rate)
            else:
                copy = _from_config(optimizer, rate, inside)
        except Exception as error:
            raise invalid(
                "`find_learning_rate` trains with copies of the optimizers, made from their configurations.",
                f"{type(optimizer).__name__}, of which {type(error).__name__}: {error}",
                "Let its `get_config` return all arguments of its `__init__`.",
            ) from error
        vars(copy).update(inside)
        # Set by `exclude_from_weight_decay`, and not part of the configuration.
        excluded = [name for name in vars(optimizer) if name.startswith("_exclude_from_weight_decay")]
        vars(copy).update({name: vars(optimizer)[name] for name in excluded})
        self.pairs[id(optimizer)] = optimizer, copy
        return copy

    def _of_several(self, optimizer: Any, rate: float | None) -> Any:
        """One that chooses for each variable the copy of what the original has chosen, or would choose."""

        def choose(variable: Any) -> Any:
            if not optimizer.built:
                return self.of(optimizer._optimizer_map(variable), rate)
            place = optimizer._var_to_optimizer_idx[optimizer._var_key(variable)]
            return self.of(optimizer.optimizers[place])

        return type(optimizer)(choose, loss_scale_factor=optimizer.loss_scale_factor, name=optimizer.name)

    def put_into(self, value: Any) -> Any:
        """What an attribute holds, with the copies in place of the optimizers in it."""
        if isinstance(value, dict):
            return {key: self.put_into(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            parts = [self.put_into(part) for part in value]
            return parts if isinstance(value, list) else tuple(parts)
        return self.pairs[id(value)][1] if id(value) in self.pairs else value

    def take_states(self, model: Any) -> None:
        """Build those whose originals are built, and give them their variables' values but for the rates."""
        # A schedule is not among an optimizer's variables; so neither is counted where the copy has a float.
        rates = {id(getattr(each, "_learning_rate", None)) for pair in self.pairs.values() for each in pair}
        for original, copy in reversed(self.pairs.values()):  # From the outermost on, which builds those inside.
            if original.built:
                if not copy.built:
                    copy.build(getattr(original, "_trainable_variables", None) or model.trainable_variables)
                ours, theirs = ([v for v in each.variables if id(v) not in rates] for each in (copy, original))
                for target, source in zip(ours, theirs, strict=True):
                    target.assign(value_of(source))


def within(optimizer: Any) -> Iterator[Any]:
    """The optimizers that one holds, from the innermost on."""
    for value in optimizers_held(optimizer).values():
        for _, inner in optimizers_in(value):
            yield from within(inner)
            yield inner


def _from_config(optimizer: Any, rate: float | None, inside: dict[str, Any]) -> Any:
    """A new optimizer from a configuration, and copies of those that it holds by the attributes that hold them."""
    with contextlib.ExitStack() as stack:
        empty: Callable[[], dict[str, Any]] = dict
        for each in within(optimizer):
            if isinstance(each, keras.optimizers.MultiOptimizer):  # Of which it may be that none can be written.
                stack.enter_context(method_replaced(each, "get_config", empty))
        config = optimizer.get_config()
    own = getattr(optimizer, "_learning_rate", None)
    if "learning_rate" in config:
        setting = float(value_of(own)) if isinstance(own, keras.Variable) else own
        config["learning_rate"] = setting if rate is None else rate
    if rate is not None and "lambda_norm" in config:
        config["lambda_norm"] = 0.0  # Of `AdamWR`: normalised by the length of a cycle, and there is none.
    arguments = {name.lstrip("_"): value for name, value in inside.items()}
    if inside and arguments.keys() <= config.keys():
        # Not from their own configurations, which need classes that are registered.
        return type(optimizer)(**{**config, **arguments})
    return type(optimizer).from_config(config)
