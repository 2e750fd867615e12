"""Where batches are executed; several in one call on JAX, where Keras returns to Python after each; traced once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import chain, islice
from typing import Any

import keras

from keras_sgdr._model_state import method_replaced

__all__ = ["build_metrics", "has_accelerator", "one_call_an_execution", "scanning"]

# What the batches of a call may take of the device's memory: 256 MiB. More batches are run one by one.
MOST_BYTES = 2**28


def has_accelerator() -> bool:
    """Whether the backend computes on another device than the processor."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    return str(keras.ops.zeros(()).device) != "cpu"


def build_metrics(model: Any, y: Any) -> None:
    """Let compiled metrics and losses make their variables before TensorFlow traces a step.

    Keras lets them do so in the step, which TensorFlow then traces a second time: for a ResNet-50 that takes as long as
    an epoch of a small data set. Models and metrics that this does not foresee are left to Keras.

    Args:
        model: The model.
        y: Labels of a batch, or anything of their shapes and types.
    """
    outputs = getattr(getattr(model, "_functional", None) or model, "_outputs_struct", None)
    own = type(model).train_step, type(model).compute_metrics
    if keras.config.backend() != "tensorflow" or outputs is None:
        return
    if own != (keras.Model.train_step, keras.Model.compute_metrics):
        return
    for part in (model._compile_metrics, model._compile_loss):
        if part is not None and not part.built:
            # By rank and last dimension Keras tells the kinds of accuracy. What it refuses, it refuses in the step too.
            with suppress(Exception):
                part.build(keras.tree.map_structure(_symbol, y), outputs)


def one_call_an_execution(model: Any) -> AbstractContextManager[None]:
    """Let the train function that is made meanwhile run `steps_per_execution` batches in a `jax.lax.scan`.

    On JAX with an accelerator. On a processor XLA runs a convolution inside of a loop on one thread, 20 times slower;
    TensorFlow runs its executions in one call anyway, and PyTorch one batch at a time.
    """
    if keras.config.backend() != "jax" or model.steps_per_execution == 1:
        return nullcontext()
    is_compiled = model.jit_compile and not model.run_eagerly
    if not is_compiled or not has_accelerator() or keras.distribution.distribution() is not None:
        return nullcontext()
    return scanning(model)


def scanning(model: Any) -> AbstractContextManager[None]:
    """`one_call_an_execution` on any device."""
    import jax

    def make_function(step: Any, concatenate_outputs: bool = False) -> Callable[[Any, Iterator[Any]], Any]:
        def batch_step(state: Any, batch: Any) -> Any:
            outputs, state = step(state, batch)
            return state, outputs

        def all_steps(state: Any, batches: list[Any]) -> Any:
            stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *batches)
            state, outputs = jax.lax.scan(batch_step, state, stacked)
            return jax.tree.map(lambda leaf: leaf[-1], outputs), state

        scan = jax.jit(all_steps, donate_argnums=0)

        def execution(state: Any, iterator: Iterator[Any]) -> Any:
            count = model.steps_per_execution
            # The last execution of an epoch may find fewer batches, or a smaller one. They are run one by one: a call
            # of another shape would be compiled for them alone.
            first = next(iterator)
            batches: Iterator[Any] = chain([first], islice(iterator, count - 1))
            if _size(first) * count <= MOST_BYTES:
                held = list(batches)
                if len(held) == count and len(set(map(_shapes, held))) == 1:
                    return scan(state, held)
                batches = iter(held)
            for batch in batches:
                outputs, state = step(state, batch)
            return outputs, state

        return execution

    return method_replaced(model, "_make_function", make_function)


def _symbol(values: Any) -> Any:
    return keras.KerasTensor(values.shape, keras.backend.standardize_dtype(values.dtype))


def _shapes(batch: Any) -> tuple[Any, ...]:
    return tuple((leaf.shape, str(leaf.dtype)) for leaf in keras.tree.flatten(batch) if leaf is not None)


def _size(batch: Any) -> int:
    return sum(leaf.nbytes for leaf in keras.tree.flatten(batch) if leaf is not None)
