"""A model's outputs as an ensemble takes them: which hold logits, and what they predict."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from keras_sgdr._checks import invalid
from keras_sgdr.snapshots.compiled_loss import gives_logits, kind_of, losses_by_output
from keras_sgdr.snapshots.scores import are_whole, probabilities

__all__ = ["Outputs", "mean_of", "rows"]


class Outputs:
    """What a model's outputs are, by the losses that it was compiled with.

    Args:
        model: The model.
        from_logits: Whether its one output holds logits; None goes by the losses.

    Attributes:
        from_logits: Whether the output holds logits; of several losses a list or a dict, as they were given.

    Raises:
        ValueError: If a loss does not tell.
    """

    def __init__(self, model: Any, from_logits: bool | None) -> None:
        self._model = model
        self._given = from_logits
        self.from_logits: Any = from_logits
        if from_logits is None:
            loss = getattr(model, "loss", None)
            told = keras.tree.map_structure(lambda each: gives_logits(each, model.name), loss)
            self.from_logits = told[0] if isinstance(told, list | tuple) and len(told) == 1 else told

    def activations(self, outputs: Any) -> list[Literal["softmax", "sigmoid"] | None]:
        """What makes each output probabilities, in the order of `keras.tree.flatten(outputs)`."""
        leaves = keras.tree.flatten(outputs)
        if self._given is not None and len(leaves) > 1:
            raise invalid(
                "With `from_logits` an ensemble must be of a model of one output.",
                f"{self._model.name!r}, which has {len(leaves)}",
                "Compile it with a loss for each and leave `from_logits` out, or take one of them: "
                "`keras.Model(model.input, model.output[0])`.",
            )
        activations: list[Literal["softmax", "sigmoid"] | None] = []
        for leaf, loss in zip(leaves, losses_by_output(self._model, outputs), strict=True):
            logits = gives_logits(loss, self._model.name) if self._given is None else self._given
            is_binary = kind_of(loss) == "binary" or leaf.shape[-1] == 1
            activations.append(("sigmoid" if is_binary else "softmax") if logits else None)
        return activations

    def probabilities(self, outputs: Any, *, precise: bool = False) -> Any:
        """Probabilities where an output holds logits, and else the output as it is; `precise` for float64."""
        leaves = [np.asarray(leaf, "float64" if precise else None) for leaf in keras.tree.flatten(outputs)]
        taken = [probabilities(*each) for each in zip(leaves, self.activations(outputs), strict=True)]
        return keras.tree.pack_sequence_as(outputs, taken)

    def logits(self, means: Any) -> Any:
        """Outputs of which `probabilities` makes `means`: what the compiled losses take."""
        inverted = []
        for mean, activation in zip(keras.tree.flatten(means), self.activations(means), strict=True):
            likely = np.clip(mean, np.finfo("float64").tiny, 1 - np.finfo("float64").epsneg)
            inverted.append(
                {None: mean, "softmax": np.log(likely), "sigmoid": np.log(likely) - np.log1p(-likely)}[activation]
            )
        return keras.tree.pack_sequence_as(means, inverted)

    def are_of_a_classifier(self, outputs: Any) -> bool:
        """Whether they are the probabilities of classes that exclude each other, one of them for each sample."""
        if keras.tree.is_nested(outputs):
            return False
        (loss,) = losses_by_output(self._model, outputs)
        if loss is None:
            return True  # There is nothing else to score by.
        kind = kind_of(loss)
        return outputs.ndim == 2 and (kind == "exclusive" or (kind == "binary" and outputs.shape[1] == 1))

    def check_labels(self, outputs: Any, labels: Any) -> None:
        """Refuse labels that Keras would take for others: fractions cut to classes, classes spread over outputs."""
        leaves, given = keras.tree.flatten(outputs), keras.tree.flatten(labels)
        if type(outputs) is not type(labels) or len(leaves) != len(given):
            return  # It is not known which label is whose.
        for loss, output, label in zip(losses_by_output(self._model, outputs), leaves, given, strict=True):
            if kind_of(loss) == "exclusive" and label.size != output.size and not are_whole(label):
                raise invalid(
                    "Labels must be whole numbers of classes where classes exclude each other.",
                    f"loss={loss!r}, labels such as {label.reshape(-1)[0]}",
                    "Pass the classes, or the loss that the labels are for.",
                )
            if kind_of(loss) == "binary" and label.shape != output.shape and not keras.tree.is_nested(outputs):
                raise invalid(
                    "Labels must be one for each output where the loss is a binary one: classes are those of a model "
                    "whose classes exclude each other.",
                    f"loss={loss!r}, labels of shape {label.shape}, and {output.shape[-1]} outputs",
                    "Pass labels of 0 and 1, as many for each sample as there are outputs.",
                )


def mean_of(shares: list[float], outputs: Any) -> Any:
    """The weighted mean of the members' outputs, which come one after another."""
    mean: Any = None
    for share, output in zip(shares, outputs, strict=True):
        part = keras.tree.map_structure(lambda array, share=share: share * array, output)
        mean = part if mean is None else keras.tree.map_structure(np.add, mean, part)
    return mean


def rows(outputs: Any) -> list[int]:
    """Samples in each output."""
    return [len(leaf) for leaf in keras.tree.flatten(outputs)]
