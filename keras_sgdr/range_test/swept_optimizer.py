"""Copies in place of a model's optimizers for a while: one at rates that are set, the others as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_sgdr._checks import invalid
from keras_sgdr._model_state import optimizers_held, optimizers_in, value_of, variables_restored

__all__ = ["SweptOptimizer", "optimizers_replaced"]


class SweptOptimizer:
    """The copy of an optimizer whose learning rate is swept, and of those that it holds and delegates to.

    Which of them makes the updates, and at whose rate, only a wrapper itself knows. So all are set, and all must keep
    what they are set to.

    Args:
        copy: The copy.
        others: The copies of the model's other optimizers, by where the model holds them.
    """

    def __init__(self, copy: Any, others: dict[str, Any]) -> None:
        self._optimizers = [*_within(copy), copy]  # From the innermost on.
        self._others = others
        self._counts = {id(each): _count(each) for each in (*self._optimizers, *others.values())}

    def set(self, rate: float) -> None:
        """Let the next update be made at a rate."""
        for optimizer in self._optimizers:
            # A property may only read the rate of the one inside; a schedule is refused below.
            with contextlib.suppress(AttributeError, TypeError):
                optimizer.learning_rate = rate
        self.check_rate(rate)

    def check_rate(self, rate: float) -> None:
        """Raise a `ValueError` unless an optimizer reads the rate that was set."""
        for optimizer in self._optimizers:
            applied = keras.ops.convert_to_numpy(optimizer.learning_rate)
            rule = "An optimizer must keep the learning rate that `find_learning_rate` sets for an update."
            received = f"{type(optimizer).__name__} with learning_rate={applied}, set to {rate}"
            if applied != np.asarray(rate, applied.dtype):
                fix = "Let its `learning_rate` be that of the optimizer inside, and the training step set none."
                raise invalid(rule, received, fix)

    def check_updates(self, batches: int) -> None:
        """Raise a `ValueError` if the optimizer has made no update."""
        if any(map(self._has_moved, self._optimizers)):
            return
        optimizer = self._optimizers[-1]
        active = [f"optimizer={place}" for place, other in self._others.items() if self._has_moved(other)]
        raise invalid(
            "`find_learning_rate` must sweep the rate of an optimizer that trains the model.",
            f"{type(optimizer).__name__} {optimizer.name!r}, which made no update in {batches} batches",
            f"Pass {' or '.join(active) or '`optimizer`, one that the training step uses'}.",
        )

    def _has_moved(self, optimizer: Any) -> bool:
        return _count(optimizer) != self._counts[id(optimizer)]


@contextlib.contextmanager
def optimizers_replaced(model: Any, optimizer: Any, rate: float) -> Iterator[SweptOptimizer]:
    """Let the model train with copies of its optimizers, then put back its own, and all variables.

    Args:
        model: A built model.
        optimizer: Which of its optimizers is to be swept; None for `model.optimizer`.
        rate: Rate to begin the sweep with.

    Raises:
        ValueError: If the model is not compiled, does not hold the optimizer, or one cannot be copied.
    """
    if optimizer is None and getattr(model, "optimizer", None) is None:
        raise invalid(
            "`find_learning_rate` trains the model, so it must be compiled.",
            f"model={getattr(model, 'name', model)!r} without an optimizer",
            "Call `model.compile(...)`.",
        )
    # An `SGDR` that an exception in `fit` has left in the model leaves it here: see `callbacks/step/optimizer_swap.py`.
    model.make_train_function()
    swept = model.optimizer if optimizer is None else optimizer
    attributes = [(owner, name, value) for owner in _models(model) for name, value in optimizers_held(owner).items()]
    originals = {
        place: each
        for owner, name, value in attributes
        for place, each in optimizers_in(value, f"{'model' if owner is model else owner.name}.{name}")
    }
    if not any(each is swept for each in originals.values()):
        raise invalid(
            "`optimizer` must be one that the model holds: its own, or in an attribute.",
            f"{type(swept).__name__}, with a model that holds {', '.join(originals) or 'none'}",
            "Pass the very object, such as optimizer=model.generator_optimizer.",
        )
    copies: dict[int, tuple[Any, Any]] = {}  # Original and copy, by the original's id.
    strategy = getattr(model, "distribute_strategy", None)
    with strategy.scope() if strategy is not None else contextlib.nullcontext():
        for each in (swept, *originals.values()):  # The swept one first: what it holds is swept too.
            _copy(each, rate if each is swept else None, copies)
        _copy_states(model, copies)
    others = {place: copies[id(each)][1] for place, each in originals.items() if each is not swept}
    # The originals' variables too: after a moving average has been put into the weights they share arrays on JAX,
    # which the compiled step frees.
    variables = [variable for original, _ in copies.values() for variable in original.variables]
    with variables_restored(model, *model.metrics_variables, *variables):
        try:
            for owner, name, value in attributes:
                vars(owner)[name] = _with_copies(value, copies)
            model.train_function = None
            yield SweptOptimizer(copies[id(swept)][1], others)
        finally:
            for owner, name, value in attributes:
                vars(owner)[name] = value
            model.train_function = None
            model.reset_metrics()  # Those too that training has created.


def _copy(optimizer: Any, rate: float | None, copies: dict[int, tuple[Any, Any]]) -> Any:
    """An optimizer with the same settings and a float rate, or its own rate for None; `AdamWR` without its decay."""
    if id(optimizer) in copies:
        return copies[id(optimizer)][1]
    if hasattr(optimizer, "optimizers"):
        raise invalid(
            "`find_learning_rate` sweeps the one rate of one optimizer.",
            type(optimizer).__name__,
            "Compile with a single optimizer for the test.",
        )
    held = optimizers_held(optimizer)
    for value in held.values():
        for _, inner in optimizers_in(value):
            _copy(inner, rate, copies)
    inside = {name: _with_copies(value, copies) for name, value in held.items()}
    try:
        copy = _from_config(optimizer, rate, inside)
    except Exception as error:
        raise invalid(
            "`find_learning_rate` trains with copies of the optimizers, made from their configurations.",
            f"{type(optimizer).__name__}, of which {type(error).__name__}: {error}",
            "Let its `get_config` return all arguments of its `__init__`.",
        ) from error
    vars(copy).update(inside)
    # Set by `exclude_from_weight_decay`, and not part of the configuration.
    excluded = {name: value for name, value in vars(optimizer).items() if name.startswith("_exclude_from_weight_decay")}
    vars(copy).update(excluded)
    copies[id(optimizer)] = optimizer, copy
    return copy


def _from_config(optimizer: Any, rate: float | None, inside: dict[str, Any]) -> Any:
    """A new optimizer from a configuration, and copies of those that it holds by the attributes that hold them."""
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


def _copy_states(model: Any, copies: dict[int, tuple[Any, Any]]) -> None:
    """Build the copies whose originals are built, and give them their variables' values but for the rates."""
    # A schedule is not among an optimizer's variables; so neither is counted where the copy has a float.
    rates = {id(getattr(each, "_learning_rate", None)) for pair in copies.values() for each in pair}
    for original, copy in reversed(copies.values()):  # From the outermost on, which builds those inside.
        if original.built:
            if not copy.built:
                copy.build(getattr(original, "_trainable_variables", None) or model.trainable_variables)
            ours, theirs = ([v for v in each.variables if id(v) not in rates] for each in (copy, original))
            for target, source in zip(ours, theirs, strict=True):
                target.assign(value_of(source))


def _count(optimizer: Any) -> int:
    """Its calls, updates or batches of an accumulation, whatever it says of its `iterations`."""
    return int(value_of(optimizer._iterations))


def _models(model: Any) -> Iterator[Any]:
    """The model and all models within it."""
    yield model
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, keras.Model):
            yield from _models(layer)


def _within(optimizer: Any) -> Iterator[Any]:
    """The optimizers that one holds, from the innermost on."""
    for value in optimizers_held(optimizer).values():
        for _, inner in optimizers_in(value):
            yield from _within(inner)
            yield inner


def _with_copies(value: Any, copies: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(value, dict):
        return {key: _with_copies(part, copies) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_with_copies(part, copies) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    return copies[id(value)][1] if id(value) in copies else value
