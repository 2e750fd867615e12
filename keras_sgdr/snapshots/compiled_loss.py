"""What the loss that a model was compiled with says of its outputs."""

from __future__ import annotations

from typing import Any

from keras_sgdr._checks import invalid

__all__ = ["gives_logits", "has_binary_loss"]


def gives_logits(model: Any) -> bool:
    """Whether the model's outputs are logits, in place of probabilities.

    Raises:
        ValueError: If the loss does not tell.
    """
    loss = _loss(model)
    if hasattr(loss, "from_logits"):
        return bool(loss.from_logits)
    # Keras's own take probabilities unless told otherwise; what other functions take, they alone know.
    if isinstance(loss, str) or str(getattr(loss, "__module__", "")).partition(".")[0] == "keras":
        return False
    raise invalid(
        "The ensemble must know whether the model gives logits.",
        f"model={model.name!r}, compiled with loss={loss!r}, which does not tell",
        "Pass from_logits=True, or False for probabilities.",
    )


def has_binary_loss(model: Any) -> bool:
    """Whether the outputs are independent labels, each with a loss of its own, in place of exclusive classes."""
    loss = _loss(model)
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return "binary" in name.lower()


def _loss(model: Any) -> Any:
    """The loss that a model of one output was compiled with."""
    loss = getattr(model, "loss", None)
    return loss[0] if isinstance(loss, list | tuple) and len(loss) == 1 else loss
