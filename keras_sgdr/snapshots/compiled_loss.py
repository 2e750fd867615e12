"""What the losses that a model was compiled with say of its outputs."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Literal, TypeAlias

import keras

from keras_sgdr._checks import invalid

__all__ = ["Kind", "gives_logits", "kind_of", "losses_by_output"]

Kind: TypeAlias = Literal["exclusive", "binary", "other"]
"""Classes that exclude each other; labels that do not, each with a probability; anything else."""


def gives_logits(loss: Any, model_name: str) -> bool:
    """Whether an output with this loss holds logits, in place of probabilities or any other numbers.

    Args:
        loss: What the model was compiled with for the output.
        model_name: For the error.

    Raises:
        ValueError: If the loss does not tell.
    """
    told = _from_logits(loss)
    if told is None:
        raise invalid(
            "The ensemble must know whether the model gives logits.",
            f"model={model_name!r}, compiled with loss={loss!r}, which does not tell",
            "Pass from_logits=True, or False for probabilities.",
        )
    return told


def kind_of(loss: Any) -> Kind:
    """What an output with this loss predicts."""
    names = [name.lower().replace("_", "") for name in _names(loss)]
    if any("binary" in name for name in names):
        return "binary"
    return "exclusive" if any("categorical" in name and "crossentropy" in name for name in names) else "other"


def losses_by_output(model: Any, outputs: Any) -> list[Any]:
    """The loss of each output, in the order of `keras.tree.flatten(outputs)`; None where there is none.

    Raises:
        ValueError: If it cannot be known which loss is whose.
    """
    loss = getattr(model, "loss", None)
    count = len(keras.tree.flatten(outputs))
    if isinstance(loss, dict) and isinstance(outputs, dict):
        # In the order in which a dict is flattened.
        return keras.tree.flatten({name: loss.get(name) for name in outputs})
    if isinstance(loss, dict):
        names = list(getattr(model, "output_names", None) or loss)
        losses = [loss.get(name) for name in names]
    elif isinstance(loss, list | tuple):
        losses = keras.tree.flatten(loss)
    else:
        return [loss] * count
    if len(losses) != count:
        raise invalid(
            "The model must have been compiled with one loss for each output.",
            f"model={model.name!r}, which has {count} outputs, compiled with loss={loss!r}",
            "Compile it with a list of losses, one for each output.",
        )
    return losses


def _from_logits(loss: Any) -> bool | None:
    """Whether a loss takes logits; None if it does not tell."""
    if loss is None:
        return None
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    is_object = isinstance(loss, keras.losses.Loss)
    # What is passed to the loss's function says what it computes; a setting or an attribute says what was asked for.
    for settings in (getattr(loss, "_fn_kwargs", {}), _config(loss), vars(loss) if hasattr(loss, "__dict__") else {}):
        if "from_logits" in settings:
            return bool(settings["from_logits"])
    if "ctc" in (name.lower() for name in _names(loss)):
        return True  # Which has no choice.
    parameter = _parameters(loss).get("from_logits")
    if parameter is not None and not is_object:
        return bool(parameter.default) if parameter.default is not parameter.empty else None
    # Keras's own without such a parameter take no probabilities, or nothing else. What others take, they alone know.
    return False if parameter is None and _is_of_keras(loss) else None


def _config(loss: Any) -> dict[str, Any]:
    try:
        return loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    except Exception:  # Of a loss with a `get_config` that does not work, which is not needed to train.
        return {}


def _parameters(loss: Any) -> Any:
    """The parameters by which a loss is chosen: those of a function, or of an object's class."""
    try:
        return inspect.signature(type(loss) if isinstance(loss, keras.losses.Loss) else loss).parameters
    except (TypeError, ValueError):
        return {}


def _function(loss: Any) -> Any:
    """The function that a loss computes, inside what it is wrapped in."""
    while (inner := loss.func if isinstance(loss, functools.partial) else getattr(loss, "fn", None)) is not None:
        loss = inner
    return loss


def _is_of_keras(loss: Any) -> bool:
    """Whether a loss is one of Keras's own, which the wrapper of a user's function is not."""
    return all(str(getattr(each, "__module__", "")).partition(".")[0] == "keras" for each in (loss, _function(loss)))


def _names(loss: Any) -> list[str]:
    """The names of a loss: of its function, or of its class and those that it was derived from."""
    if isinstance(loss, str):
        return [loss]
    function = _function(loss)
    if hasattr(function, "__name__"):
        return [function.__name__]
    return [each.__name__ for each in type(function).__mro__]
