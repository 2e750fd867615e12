"""Ensembles of snapshots: one model in memory, the weights of its members from disk in turn.

Huang et al., "Snapshot Ensembles: Train 1, get M for free", ICLR 2017, arXiv 1704.00109: the mean of the members'
probabilities. Averaging the weights instead, with BatchNorm's statistics taken anew: Izmailov et al., "Averaging
Weights Leads to Wider Optima and Better Generalization", UAI 2018, arXiv 1803.05407.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_sgdr.arguments import is_integer, is_number, require
from keras_sgdr.batches import Batches
from keras_sgdr.evaluation import Report, Scores, probabilities, scores
from keras_sgdr.snapshots import MANIFEST, Manifest, Mode, Snapshot, SnapshotError, architecture, weights_alone

__all__ = ["SnapshotEnsemble"]

Array = NDArray[Any]


class SnapshotEnsemble:
    """Snapshots of one training, used together.

    Predicting, evaluating and averaging put the members' weights into the model, one after another: afterwards it has
    those of the last. Data is read once a member, in batches; the memory is that of one model and one array of outputs.

    Example:

    >>> ensemble = SnapshotEnsemble.load("snapshots", model, select="last", m=3)
    >>> ensemble.predict(x)
    >>> print(ensemble.report(x_val, y_val))

    Args:
        manifest: The folder's manifest.
        model: A model of the architecture that was trained. Its weights are replaced.
        members: Snapshots of the folder.
        from_logits: Whether the model gives logits; None goes by its compiled loss.

    Raises:
        ValueError: If there are no members with a share, or it cannot be known what the model gives.
    """

    def __init__(
        self, manifest: Manifest, model: Any, members: Sequence[Snapshot], *, from_logits: bool | None = None
    ) -> None:
        require(
            bool(members) and sum(one.weight for one in members) > 0,
            "An ensemble must have members with a share.",
            "snapshots",
            [one.file for one in members],
            "Pass a folder with the snapshots of a complete cycle.",
        )
        self._manifest = manifest
        self.model = model
        self.members = list(members)
        self.from_logits = _gives_logits(model) if from_logits is None else from_logits
        # Several independent labels, each with a loss of its own.
        self._binary = "binary" in _name(_loss(model)).lower()

    @classmethod
    def load(
        cls,
        directory: str | os.PathLike[str],
        model: Any,
        select: Literal["all", "last", "best", "greedy"] = "all",
        m: int | None = None,
        *,
        weights: Sequence[float] | None = None,
        from_logits: bool | None = None,
        monitor: str = "val_loss",
        mode: Mode = "auto",
        data: Any = None,
        batch_size: int = 32,
    ) -> Self:
        """Choose snapshots of a folder.

        Args:
            directory: Folder that a `SnapshotCheckpoint` or `save` wrote.
            model: A model of the architecture that was trained. Its weights are replaced.
            select: `"all"`; `"last"` or `"best"` for the last or best `m`; `"greedy"` for up to `m` that, taken in turn
                from the one of the lowest loss on `data` on, lower the loss of the ensemble.
            m: Number of members; all where None.
            weights: Share of each member in the mean, in the order of the cycles. None takes those of a saved ensemble,
                and equal ones of a training.
            from_logits: Whether the model gives logits, which go through softmax (through the sigmoid, with a binary
                loss or a single output) before they are averaged, or probabilities; None goes by the loss it was
                compiled with.
            monitor: Metric that says which is best.
            mode: `"min"`, `"max"`, or `"auto"` to go by the metric's name.
            data: `(x, y)`, or a data set, for `"greedy"`.
            batch_size: Samples in a batch of arrays.

        Raises:
            SnapshotError: If the manifest or a member's file is missing or damaged; the message names it.
            ValueError: If an argument is out of range.
        """
        manifest = Manifest.read(directory)
        require(
            select in ("all", "last", "best", "greedy"),
            '`select` must be "all", "last", "best" or "greedy".',
            "select",
            select,
            "Pass one of the four.",
        )
        require(
            m is None or (is_integer(m) and select != "all"),
            '`m` must be a positive integer, and `select` other than "all".',
            "m",
            m,
            'Pass select="last" or select="best" with the number of members.',
        )
        most = len(manifest.snapshots) if m is None else m
        require(
            not manifest.snapshots or most <= len(manifest.snapshots),
            f"`m` must be at most the {len(manifest.snapshots)} snapshots of the folder.",
            "m",
            m,
            "Pass a smaller number.",
        )
        if select == "greedy":
            found = cls(manifest, model, manifest.snapshots, from_logits=from_logits)._greedy(data, most, batch_size)
        else:
            found = manifest.best(most, monitor, mode) if select == "best" else manifest.last(most)
        chosen = sorted(found, key=lambda one: one.cycle)
        if weights is not None:
            require(
                len(weights) == len(chosen) and all(is_number(w) and w >= 0 for w in weights) and sum(weights) > 0,
                f"`weights` must be numbers, 0 or more and not all 0, one for each of the {len(chosen)} members.",
                "weights",
                weights,
                "Pass the members' shares in the order of their cycles.",
            )
            chosen = [replace(one, weight=float(w)) for one, w in zip(chosen, weights, strict=True)]
        for one in chosen:
            manifest.path(one)
        return cls(manifest, model, chosen, from_logits=from_logits)

    @property
    def shares(self) -> list[float]:
        """The members' shares in the mean, of sum 1."""
        total = sum(one.weight for one in self.members)
        return [one.weight / total for one in self.members]

    def predict(self, x: Any, batch_size: int = 32) -> Array:
        """The weighted mean of the members' probabilities.

        Args:
            x: Arrays, or a data set of batches, which must come in the same order each time it is read.
            batch_size: Samples in a batch of arrays.

        Returns:
            Shape `(samples, ...)` of the model's output.

        Raises:
            SnapshotError: If a member's file is missing or damaged.
            ValueError: If the data came in another order for another member.
        """
        batches = Batches(x, None, batch_size)
        mean: list[Array] = []
        for share, _ in zip(self.shares, self._members(), strict=True):
            for number, (inputs, _) in enumerate(batches):
                output = share * self._probabilities(inputs)
                if number == len(mean):
                    mean.append(output)
                else:
                    mean[number] += output
        return np.concatenate(mean)

    def evaluate(self, x: Any, y: Any = None, batch_size: int = 32) -> Scores:
        """Loss, accuracy and expected calibration error of the ensemble; see `report` for the arguments."""
        return self.report(x, y, batch_size).ensemble

    def report(self, x: Any, y: Any = None, batch_size: int = 32) -> Report:
        """Scores of each member and of the ensemble, and how far the members disagree.

        Args:
            x: Arrays, or a data set of batches of inputs and labels, which must come in the same order each time.
            y: Labels: classes, shape `(samples,)`, or one-hot, shape `(samples, classes)`. Not with a data set.
            batch_size: Samples in a batch of arrays.

        Raises:
            SnapshotError: If a member's file is missing or damaged.
            ValueError: If the model is no classifier of one output, or the data has no labels or came in another order.
        """
        batches = Batches(x, y, batch_size, labelled=True)
        mean: list[Array] = []
        members, classes = [], []
        labels: list[Array] = []
        for share, _ in zip(self.shares, self._members(), strict=True):
            outputs, labels = [], []
            for number, (inputs, truth) in enumerate(batches):
                outputs.append(self._probabilities(inputs))
                labels.append(truth)
                if number == len(mean):
                    mean.append(share * outputs[-1])
                else:
                    mean[number] += share * outputs[-1]
            score, predicted = self._scores(np.concatenate(outputs), np.concatenate(labels))
            members.append(score)
            classes.append(predicted)
        together, _ = self._scores(np.concatenate(mean), np.concatenate(labels))
        predictions = np.stack(classes)
        disagreement = (predictions[:, None] != predictions[None]).mean(axis=2)
        return Report([one.cycle for one in self.members], members, together, disagreement)

    def average_weights(self, x: Any = None, batch_size: int = 32) -> Any:
        """Put the weighted mean of the members' weights into the model.

        The mean of BatchNorm's statistics is not the statistics of the mean: with layers of it, pass training data.

        Args:
            x: Data from which the statistics of every trainable BatchNorm are taken anew: the mean over its batches.
                None keeps their mean over the members.
            batch_size: Samples in a batch of arrays.

        Returns:
            The model.
        """
        mean: list[Array] | None = None
        for share, _ in zip(self.shares, self._members(), strict=True):
            weights = self.model.get_weights()
            if mean is None:
                mean = [share * one.astype("float64") if _is_float(one) else one for one in weights]
            else:
                # What is not a float, such as the state of a random generator, is the last member's.
                pairs = zip(mean, weights, strict=True)
                mean = [total + share * one if _is_float(one) else one for total, one in pairs]
        assert mean is not None
        self.model.set_weights(mean)
        if x is not None:
            _estimate_statistics(self.model, Batches(x, None, batch_size))
        return self.model

    def to_model(self) -> Any:
        """One Keras model with the members inside, of Keras's own layers: it loads where `keras_sgdr` is not.

        Its output is what `predict` returns. The model that was trained must be functional or sequential.
        """
        # A sequential model has an `input` only once it was called.
        given = self.model.inputs[0] if isinstance(self.model, keras.Sequential) else self.model.input
        inputs = keras.tree.map_structure(
            lambda one: keras.Input(batch_shape=one.shape, dtype=one.dtype, name=one.name), given
        )
        outputs = []
        for share, one in zip(self.shares, self._members(), strict=True):
            member = keras.models.clone_model(self.model)
            member.name = f"cycle_{one.cycle}"
            member.set_weights(self.model.get_weights())
            output = member(inputs)
            if kind := self._activation(output):
                output = keras.layers.Activation(kind, dtype="float32", name=f"{member.name}_{kind}")(output)
            outputs.append(keras.layers.Rescaling(share, dtype="float32", name=f"{member.name}_share")(output))
        mean = keras.layers.Add(dtype="float32", name="mean")(outputs) if len(outputs) > 1 else outputs[0]
        return keras.Model(inputs, mean, name="snapshot_ensemble")

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Copy the members, with their shares, into another folder, from which `load` makes the same ensemble.

        Raises:
            ValueError: If the folder has snapshots.
        """
        target = Path(directory)
        if (target / MANIFEST).exists():
            raise ValueError(
                f"An ensemble must be saved into a folder of its own. Received: directory={str(target)!r}, which has "
                "snapshots. Pass another folder."
            )
        target.mkdir(parents=True, exist_ok=True)
        copy = Manifest(target, self._manifest.schedule)
        for one in self.members:
            source = self._manifest.path(one)
            copy.add(one, lambda unfinished, source=source: shutil.copyfile(source, unfinished))  # type: ignore[misc]

    def _members(self) -> Iterator[Snapshot]:
        """Each member in turn, with its weights in the model."""
        for one in self.members:
            path = self._manifest.path(one)
            if one.architecture != architecture(self.model):
                raise SnapshotError(
                    f"The model must be of the architecture that was trained. Received: {str(path)!r}, whose weights "
                    f"have other shapes than those of {self.model.name!r}. Pass the model that the snapshots are of."
                )
            with weights_alone(self.model):
                self.model.load_weights(path)
            yield one

    def _probabilities(self, inputs: Any) -> Array:
        outputs = self.model.predict_on_batch(inputs)
        if isinstance(outputs, list | tuple | dict):
            raise ValueError(
                f"An ensemble must be of a model of one output. Received: {self.model.name!r}, which has "
                f"{len(outputs)}. Take one of them: `keras.Model(model.input, model.output[0])`."
            )
        return probabilities(np.asarray(outputs), self._activation(outputs))

    def _activation(self, outputs: Any) -> Literal["softmax", "sigmoid"] | None:
        """What makes the model's outputs probabilities."""
        if not self.from_logits:
            return None
        return "sigmoid" if self._binary or outputs.shape[-1] == 1 else "softmax"

    def _scores(self, outputs: Array, labels: Array) -> tuple[Scores, Array]:
        if self._binary and outputs.shape[-1] > 1:
            raise ValueError(
                f"Scores are of a classifier whose classes exclude each other. Received: loss={self.model.loss!r} and "
                f"{outputs.shape[-1]} outputs. Use `predict`."
            )
        return scores(outputs, labels)

    def _greedy(self, data: Any, most: int, batch_size: int) -> list[Snapshot]:
        """Of the members, the one of the lowest loss first, those that lower the loss of the mean of those before."""
        require(
            data is not None,
            'select="greedy" must have data to choose by.',
            "data",
            data,
            "Pass data=(x, y) that was not trained on.",
        )
        x, y = data if isinstance(data, tuple) else (data, None)
        batches = Batches(x, y, batch_size, labelled=True)

        def outputs_and_labels() -> tuple[Array, Array]:
            found = [(self._probabilities(inputs), truth) for inputs, truth in batches]
            output, labels = (np.concatenate(part) for part in zip(*found, strict=True))
            return output, labels

        losses = [self._scores(*outputs_and_labels())[0].loss for _ in self._members()]
        self.members = [self.members[place] for place in np.argsort(losses)]
        chosen: list[Snapshot] = []
        mean, best = np.zeros(()), np.inf
        for one in self._members():
            output, labels = outputs_and_labels()
            candidate = (mean * len(chosen) + output) / (len(chosen) + 1)
            loss = self._scores(candidate, labels)[0].loss
            if loss < best:
                chosen, mean, best = [*chosen, one], candidate, loss
            if len(chosen) == most:
                break
        return chosen


def _loss(model: Any) -> Any:
    """The loss that a model of one output was compiled with."""
    loss = getattr(model, "loss", None)
    return loss[0] if isinstance(loss, list | tuple) and len(loss) == 1 else loss


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def _gives_logits(model: Any) -> bool:
    loss = _loss(model)
    if hasattr(loss, "from_logits"):
        return bool(loss.from_logits)
    # Keras's own take probabilities unless told otherwise; what other functions take, they alone know.
    if isinstance(loss, str) or str(getattr(loss, "__module__", "")).partition(".")[0] == "keras":
        return False
    raise ValueError(
        f"The ensemble must know whether the model gives logits. Received: model={model.name!r}, compiled with "
        f"loss={loss!r}, which does not tell. Pass from_logits=True, or False for probabilities."
    )


def _is_float(array: Array) -> bool:
    # Not by NumPy, to which bfloat16 is none.
    return bool(keras.backend.is_float_dtype(str(array.dtype)))


def _estimate_statistics(model: Any, batches: Batches) -> None:
    """Means over all batches in place of BatchNorm's moving ones; frozen layers keep theirs."""
    # Private, but `layers` holds no layers of layers.
    every = model._flatten_layers()
    layers = [one for one in every if isinstance(one, keras.layers.BatchNormalization) and one.trainable]
    if not layers:
        return
    momenta = [one.momentum for one in layers]
    try:
        for number, (inputs, _) in enumerate(batches):
            for one in layers:
                # The mean over all batches so far.
                one.momentum = number / (number + 1)
            model(keras.tree.map_structure(ops.convert_to_tensor, inputs), training=True)
    finally:
        for one, momentum in zip(layers, momenta, strict=True):
            one.momentum = momentum
