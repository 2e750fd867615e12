"""Ensembles of snapshots: one model in memory, the weights of its members from disk in turn.

The mean of the members' probabilities: Huang et al., "Snapshot Ensembles", ICLR 2017, arXiv 1704.00109. Averaging the
weights, with BatchNorm's statistics taken anew: Izmailov et al., "Averaging Weights", UAI 2018, arXiv 1803.05407.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import keras
import numpy as np

from keras_sgdr._checks import integer, invalid, is_integer, is_number, one_of, require
from keras_sgdr._model_state import variables_restored
from keras_sgdr.snapshots.compiled_scores import CompiledScores
from keras_sgdr.snapshots.data_sets import Targets, same_at_each_pass, text_as_arrays
from keras_sgdr.snapshots.export import as_one_model
from keras_sgdr.snapshots.manifest import Manifest
from keras_sgdr.snapshots.model_weights import load_weights, put_average
from keras_sgdr.snapshots.outputs import Outputs, mean_of, rows
from keras_sgdr.snapshots.scores import Array, Measured, Report, scores
from keras_sgdr.snapshots.snapshot import Snapshot

__all__ = ["SnapshotEnsemble"]


class SnapshotEnsemble:
    """Snapshots of one training, used together.

    The members' weights are put into the model one after another, and each predicts all data. Afterwards the model has
    the weights that it had, after an error too; only `average_weights` changes it. The memory is that of the model, a
    copy of its weights and two arrays of outputs.

    Data is given as arrays, lists or dicts of arrays, or a data set of batches that `model.predict` takes. A data set
    is read once per member, and once before and after, since it must bring the same batches in the same order each
    time.

    Example:

    >>> ensemble = SnapshotEnsemble.load("snapshots", model, select="last", n_members=3)
    >>> ensemble.predict(x)
    >>> print(ensemble.report(x_val, y_val))

    Args:
        manifest: The folder's manifest.
        model: A model of the architecture that was trained.
        members: Snapshots of the folder.
        from_logits: Whether the model gives logits; None goes by its compiled loss.

    Raises:
        ValueError: If there are no members with a share, two are of one cycle, or it cannot be known what the model
            gives.
    """

    def __init__(
        self, manifest: Manifest, model: Any, members: Sequence[Snapshot], *, from_logits: bool | None = None
    ) -> None:
        files = [member.file for member in members]
        if not any(member.weight > 0 for member in members):
            rule, received = "An ensemble must have members with a share.", f"{files} in {str(manifest.directory)!r}"
            raise invalid(rule, f"snapshots={received}", "Pass a folder with the snapshots of a complete cycle.")
        rule, fix = "The members of an ensemble must be of different cycles.", "Pass each once, with a larger `weight`."
        require(len({member.cycle for member in members}) == len(members), rule, "snapshots", files, fix)
        self._manifest = manifest
        self.model = model
        self.members = list(members)
        self._given = Outputs(model, from_logits)
        self.from_logits = self._given.from_logits

    @classmethod
    def load(
        cls,
        directory: str | os.PathLike[str],
        model: Any,
        select: Literal["all", "last", "best", "greedy"] = "all",
        n_members: int | None = None,
        *,
        weights: Sequence[float] | None = None,
        from_logits: bool | None = None,
        data: Any = None,
        batch_size: int = 32,
    ) -> Self:
        """Choose snapshots of a folder.

        Args:
            directory: Folder that a `SnapshotCheckpoint` or `save` wrote.
            model: A model of the architecture that was trained.
            select: `"all"`; `"last"`; `"best"` by the metric that the `SnapshotCheckpoint` monitored; or `"greedy"`:
                those that lower the loss of the ensemble on `data`, added one by one, the best first.
            n_members: Number of members, at most that with `"greedy"`; None for no limit.
            weights: Share of each member in the mean, in the order of the cycles. None takes those of a saved ensemble,
                and equal ones of a training.
            from_logits: Whether the model gives logits, which go through softmax (through the sigmoid, with a binary
                loss or a single output) before they are averaged, or probabilities; None goes by the loss it was
                compiled with.
            data: `(x, y)`, or a data set, for `"greedy"`.
            batch_size: Samples in a batch of arrays.

        Raises:
            SnapshotError: If the manifest or a member's file is missing or damaged; the message names it.
            ValueError: If an argument is out of range.
        """
        manifest = Manifest.read(directory)
        one_of("select", select, ("all", "last", "best", "greedy"))
        rule = '`n_members` must be a positive integer, and `select` other than "all".'
        fix = 'Pass select="last" or select="best" with the number of members.'
        require(n_members is None or (is_integer(n_members) and select != "all"), rule, "n_members", n_members, fix)
        n_snapshots = len(manifest.snapshots)
        limit = n_snapshots if n_members is None else n_members
        rule = f"`n_members` must be at most the {n_snapshots} snapshots of the folder."
        require(not n_snapshots or limit <= n_snapshots, rule, "n_members", n_members, "Pass a smaller number.")
        if select == "greedy":
            ensemble = cls(manifest, model, manifest.snapshots, from_logits=from_logits)
            chosen = ensemble._greedy(data, limit, batch_size)
        else:
            chosen = manifest.best(limit) if select == "best" else manifest.last(limit)
        chosen = sorted(chosen, key=lambda member: member.cycle)
        if weights is not None:
            fit = np.shape(weights) == (len(chosen),)
            valid = fit and all(is_number(w) and w >= 0 for w in weights) and any(weights)
            rule = f"`weights` must be numbers, 0 or more and not all 0, one for each of the {len(chosen)} members."
            require(valid, rule, "weights", weights, "Pass the members' shares in the order of their cycles.")
            chosen = [replace(member, weight=float(w)) for member, w in zip(chosen, weights, strict=True)]
        for member in chosen:
            manifest.path(member)
        return cls(manifest, model, chosen, from_logits=from_logits)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} of the cycles {[m.cycle for m in self.members]} in '{self._manifest.directory}'>"
        )

    @property
    def shares(self) -> list[float]:
        """The members' shares in the mean, of sum 1."""
        # Of the largest first: the sum of what they are may be beyond the floats.
        largest = max(member.weight for member in self.members)
        relative = [member.weight / largest for member in self.members]
        return [each / sum(relative) for each in relative]

    def predict(self, x: Any, batch_size: int = 32) -> Any:
        """The weighted mean of the members' probabilities, or of their outputs where these are no logits.

        Args:
            x: Arrays, or a data set of batches; labels in it are not used.
            batch_size: Samples in a batch of arrays.

        Returns:
            Of the model's output, shape `(samples, ...)`; of several outputs a list or a dict, as of `model.predict`.

        Raises:
            SnapshotError: If a member's file is missing or damaged.
            ValueError: If a data set brought other batches at another pass.
        """
        x = text_as_arrays(x)
        with variables_restored(self.model), same_at_each_pass(x) as targets:
            outputs = (self._given.probabilities(raw) for raw in self._outputs(x, targets.samples, batch_size))
            return mean_of(self.shares, outputs)

    def evaluate(self, x: Any, y: Any = None, batch_size: int = 32) -> Measured:
        """Scores of the ensemble; see `report`."""
        return self.report(x, y, batch_size).ensemble

    def report(self, x: Any, y: Any = None, batch_size: int = 32) -> Report:
        """Scores of each member and of the ensemble.

        A classifier of one output, whose loss is a cross-entropy of classes that exclude each other, has `Scores`. Any
        other model is scored by the loss and the metrics that it was compiled with, on the mean of the members'
        outputs, as `model.evaluate(..., return_dict=True)` would; without what its weights add to the loss.

        Args:
            x: Arrays, or a data set of batches of inputs and labels.
            y: Labels: classes, shape `(samples,)`, or one-hot, shape `(samples, classes)`; of any other model what its
                loss takes. Not with a data set.
            batch_size: Samples in a batch of arrays.

        Raises:
            SnapshotError: If a member's file is missing or damaged.
            ValueError: If the labels are not those of the model, the data has none, or a data set brought other batches
                at another pass.
        """
        x = text_as_arrays(x)
        members: list[Measured] = []
        classes: list[Array] = []

        def measured(raw: Iterator[Any], targets: Targets) -> Iterator[Any]:
            for output in raw:
                taken = self._given.probabilities(output, precise=True)
                score, predicted = self._measure(taken, targets, batch_size)
                members.append(score)
                if predicted is not None:
                    classes.append(predicted)
                yield taken

        with variables_restored(self.model), same_at_each_pass(x, y, labelled=True) as targets:
            mean = mean_of(self.shares, measured(self._outputs(x, targets.samples, batch_size), targets))
        ensemble, _ = self._measure(mean, targets, batch_size)
        predictions = np.stack(classes) if classes else None
        disagreement = None if predictions is None else (predictions[:, None] != predictions[None]).mean(axis=2)
        return Report([member.cycle for member in self.members], members, ensemble, disagreement)

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
        integer("batch_size", batch_size, "Pass the number of samples in a batch.")
        mean: list[Any] = [0.0] * len(self.model.weights)
        with variables_restored(self.model):
            for share, _ in zip(self.shares, self._members(), strict=True):
                for index, weight in enumerate(self.model.get_weights()):
                    # Not by NumPy, to which bfloat16 is no float. An integer, such as a count, is the last member's.
                    is_float = keras.backend.is_float_dtype(str(weight.dtype))
                    mean[index] = mean[index] + share * weight.astype("float64") if is_float else weight
        put_average(self.model, mean, x, batch_size)
        return self.model

    def to_model(self) -> Any:
        """One Keras model with the members inside, of Keras's own layers: it loads where `keras_sgdr` is not.

        Its output is what `predict` returns. The model that was trained must be functional or sequential.
        """
        with variables_restored(self.model):
            names = (f"cycle_{snapshot.cycle}" for snapshot in self._members())
            return as_one_model(self.model, names, self.shares, self._given)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Copy the members, with their shares, into another folder, from which `load` makes the same ensemble.

        A copy that is broken off leaves no ensemble.

        Raises:
            SnapshotError: If a member's file is missing or damaged, or a copy cannot be written.
            ValueError: If the folder has snapshots, or is no path.
        """
        self._manifest.copy(directory, self.members)

    def _members(self) -> Iterator[Snapshot]:
        """Each member in turn, with its weights in the model."""
        for member in self.members:
            path = self._manifest.path(member)
            load_weights(self.model, path, member)
            yield member

    def _outputs(self, x: Any, samples: int, batch_size: int) -> Iterator[Any]:
        """The outputs of each member, in turn."""
        integer("batch_size", batch_size, "Pass the number of samples in a batch.")
        for _ in self._members():
            outputs = self.model.predict(x, batch_size=int(batch_size), verbose=0)
            rule, fix = f"A model must give {samples} outputs for so many samples.", "Predict without a strategy."
            require(set(rows(outputs)) == {samples}, rule, "outputs", rows(outputs), fix)
            yield outputs

    def _measure(self, taken: Any, targets: Targets, batch_size: int) -> tuple[Measured, Array | None]:
        """Scores of probabilities or other outputs; of a classifier also the class that each sample is given."""
        if self._given.are_of_a_classifier(taken):
            return scores(taken, targets.labels)
        self._given.check_labels(taken, targets.labels)
        return self._compiled(self._given.logits(taken), targets, batch_size), None

    @functools.cached_property
    def _compiled(self) -> CompiledScores:
        return CompiledScores(self.model)

    def _greedy(self, data: Any, limit: int, batch_size: int) -> list[Snapshot]:
        """The member of the lowest loss, and those that lower the loss of the mean, tried in the order of theirs."""
        rule, fix = 'select="greedy" must have data to choose by.', "Pass data=(x, y) that was not trained on."
        require(data is not None, rule, "data", data, fix)
        x, y = data if isinstance(data, tuple) else (data, None)
        x = text_as_arrays(x)
        with variables_restored(self.model), same_at_each_pass(x, y, labelled=True) as targets:
            raw = self._outputs(x, targets.samples, batch_size)
            outputs = [self._given.probabilities(output, precise=True) for output in raw]

        def loss(members: list[int]) -> float:
            mean = mean_of([1 / len(members)] * len(members), [outputs[index] for index in members])
            measured, _ = self._measure(mean, targets, batch_size)
            return measured["loss"] if isinstance(measured, dict) else measured.loss

        chosen: list[int] = []
        lowest = np.inf
        for index in np.argsort([loss([index]) for index in range(len(outputs))]).tolist():
            if len(chosen) < limit and (candidate := loss([*chosen, index])) < lowest:
                chosen, lowest = [*chosen, index], candidate
        return [self.members[index] for index in chosen]
