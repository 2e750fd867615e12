"""Runs of a study trained together on JAX: one compiled step, mapped over weights, optimizers, rates and batches.

A step of one small batch leaves most of a GPU idle, and Python between two steps all of it. Mapped over `k` runs, a
step is one call with `k` times the work; of a convolution with weights of its own in each run XLA makes a grouped one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_sgdr._checks import invalid
from keras_sgdr.data.samples import Array
from keras_sgdr.study.spec import Spec, values_of
from keras_sgdr.study.store import Progress, Run
from keras_sgdr.study.trainer import Log, Trainer

__all__ = ["TogetherTrainer"]


class TogetherTrainer(Trainer):
    """A `Trainer` of several runs at once.

    Args:
        spec: What is trained.

    Raises:
        ValueError: If the backend is not JAX, or the model is not one that a study can train.
    """

    def __init__(self, spec: Spec) -> None:
        if keras.config.backend() != "jax":
            raise invalid(
                "Runs are trained together on the JAX backend.",
                f"backend={keras.config.backend()!r}",
                "Set KERAS_BACKEND=jax, or leave `together` out.",
            )
        super().__init__(spec)
        import jax

        model, augment = self._model, self._augment
        # Keras makes the compiled metrics when they are first called.
        (x, y), outputs = spec.data[0], model.compute_output_shape((spec.batch_size, *model.input_shape[1:]))
        model.compute_metrics(x[: spec.batch_size], y[: spec.batch_size], np.zeros(outputs, "float32"))
        model.reset_metrics()
        self._fresh_metrics = values_of(model.metrics_variables)
        self._images = jax.numpy.asarray(x)

        def train_step(state: Any, images: Any, order: Any, draws: Any, labels: Any) -> Any:
            return model.train_step(state, (augment(images[order], draws), labels))

        def outputs_of(trainable: Any, others: Any, samples: Any) -> Any:
            return model.stateless_call(trainable, others, samples, training=False)[0]

        self._train_step = jax.jit(jax.vmap(train_step, in_axes=(0, None, 0, 0, 0)), donate_argnums=0)
        self._test_step = jax.jit(jax.vmap(model.test_step, in_axes=(0, None)))
        self._outputs_of = jax.jit(jax.vmap(outputs_of, in_axes=(0, 0, None)))

    def run_together(
        self,
        begins: Mapping[Run, Progress | None],
        *,
        keep: Callable[[Run, Progress], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> list[Progress]:
        """Train several runs. For the other arguments see `run`.

        Args:
            begins: Runs, and where each was stopped, all after the same epoch; None from the start.
            keep: Called for each run.
            stop: Whether to stop all of them.

        Returns:
            The runs, in their order.
        """
        runs, values, started = list(begins), [], []
        for run, begin in begins.items():
            started.append(self.reset(run.schedule, run.seed, begin))
            values.append(self.variables())
        state = _State(self._model, self._optimizer, values)
        logs = [
            Log(
                self._spec,
                run.schedule,
                begin,
                outputs=partial(self._outputs_of_run, state, place),
                variables=partial(state.of_run, place),
                keep=partial(keep, run) if keep else None,
            )
            for place, (run, begin) in enumerate(zip(runs, started, strict=True))
        ]
        for epoch in range(logs[0].progress().epochs, self._spec.epochs):
            metrics = self._train_epoch(state, runs, epoch) | self._validate(state)
            stopping = stop()
            stopped = [
                log.end_epoch({name: values[place] for name, values in metrics.items()}, stop=stopping)
                for place, log in enumerate(logs)
            ]
            if any(stopped):
                break
        return [log.progress() for log in logs]

    def _train_epoch(self, state: _State, runs: Sequence[Run], epoch: int) -> dict[str, Array]:
        size, labels = self._spec.batch_size, self._spec.data[0][1]
        orders, draws = (
            np.stack(arrays) for arrays in zip(*(self._spec.batches(r.seed, epoch) for r in runs), strict=True)
        )
        metrics, means = self._metrics_of(runs), {}
        for begin in range(0, orders.shape[1], size):
            order, numbers = orders[:, begin : begin + size], draws[:, begin : begin + size]
            parts = state.trainable, state.others, state.optimizer, metrics
            means, parts = self._train_step(parts, self._images, order, numbers, labels[order])
            state.trainable, state.others, state.optimizer, metrics = parts
        return {name: np.asarray(mean) for name, mean in means.items()}

    def _validate(self, state: _State) -> dict[str, Array]:
        x, y = self._val
        metrics, means = self._metrics_of(state.trainable[0]), {}
        for begin in range(0, len(y), self._validation_batch):
            rows = slice(begin, begin + self._validation_batch)
            means, (_, _, metrics) = self._test_step((state.trainable, state.others, metrics), (x[rows], y[rows]))
        return {f"val_{name}": np.asarray(mean) for name, mean in means.items()}

    def _metrics_of(self, runs: Any) -> list[Any]:
        """Metrics without any value, for each run."""
        return [np.repeat(value[None], len(runs), axis=0) for value in self._fresh_metrics]

    def _outputs_of_run(self, state: _State, place: int) -> Array:
        x, size = self._val[0], self._validation_batch
        trainable, others = ([value[place : place + 1] for value in part] for part in (state.trainable, state.others))
        parts = [self._outputs_of(trainable, others, x[begin : begin + size]) for begin in range(0, len(x), size)]
        return self.taken(np.concatenate([np.asarray(part)[0] for part in parts]))


class _State:
    """The variables of several runs, those of each stacked: of `k` runs a variable of shape `s` has `(k, *s)`.

    Args:
        model: The model, of whose variables these are.
        optimizer: Its optimizer.
        values: For each run what `Trainer.variables` returned.
    """

    def __init__(self, model: Any, optimizer: Any, values: Sequence[list[Array]]) -> None:
        parts = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
        place = {id(variable): number for number, variable in enumerate([*model.variables, *optimizer.variables])}
        self._places = [[place[id(variable)] for variable in part] for part in parts]
        stacked = [np.stack(each) for each in zip(*values, strict=True)]
        self.trainable, self.others, self.optimizer = ([stacked[number] for number in part] for part in self._places)

    def of_run(self, place: int) -> list[Array]:
        """The values of one run, as `Trainer.variables` returns them."""
        values: dict[int, Array] = {}
        for numbers, part in zip(self._places, (self.trainable, self.others, self.optimizer), strict=True):
            values |= {number: np.asarray(value[place]) for number, value in zip(numbers, part, strict=True)}
        return [values[number] for number in sorted(values)]
