"""The processes that train one model together: one of them writes its snapshots, and the others go by what it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_sgdr._checks import invalid, require

__all__ = ["Processes", "processes_of", "require_whole_weights"]


class Processes:
    """One process alone, which writes.

    Attributes:
        writes: Whether this is the process that writes.
    """

    writes = True

    def by_one(self, work: Callable[[], Any]) -> Any:
        """Let the process that writes do something, and wait for it.

        Args:
            work: What is done; gives something that JSON has.

        Returns:
            What it gave, in every process.

        Raises:
            ValueError: In every process, if it raised one; RuntimeError in the others, if it raised something else.
        """
        return work()

    def require_one(self, name: str, value: str) -> None:
        """Require a value to be that of the process that writes.

        Args:
            name: What it is called.
            value: That of this process.

        Raises:
            ValueError: If it is another.
        """
        written = self.by_one(lambda: value)
        rule = f"The processes that train one model must have one `{name}`."
        require(value == written, rule, name, value, f"Pass {written!r}, that of the process that writes.")


class _Several(Processes):
    """Several processes. Each calls `by_one` as often as the others.

    Args:
        writes: Whether this is the process that writes.
        share: Gives, in every process, the text that the process that writes passed; the others pass "".
    """

    def __init__(self, writes: bool, share: Callable[[str], str]) -> None:
        self.writes = writes
        self._share = share

    def by_one(self, work: Callable[[], Any]) -> Any:
        if not self.writes:
            outcome = json.loads(self._share(""))
            if "error" in outcome:
                message = f"{outcome['error']} (In the process that writes the snapshots.)"
                raise (ValueError if outcome["is_value_error"] else RuntimeError)(message)
            return outcome["result"]
        try:
            result = work()
        except Exception as error:
            # Else the others would wait forever.
            described = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            self._share(json.dumps({"error": described, "is_value_error": isinstance(error, ValueError)}))
            raise
        self._share(json.dumps({"result": result}))
        return result


def processes_of(model: Any) -> Processes:
    """The processes that train a model: those of `torch.distributed`, of a `MultiWorkerMirroredStrategy`, or of JAX."""
    return {"torch": _of_torch, "tensorflow": _of_tensorflow, "jax": _of_jax}[keras.config.backend()](model)


def require_whole_weights(model: Any) -> None:
    """Require that each process has all weights, itself or divided among its devices.

    Raises:
        ValueError: If JAX has divided one among several processes, none of which can read it then.
    """
    for variable in model.variables if keras.config.backend() == "jax" else ():
        if not (variable.value.is_fully_addressable or variable.value.is_fully_replicated):
            raise invalid(
                "Weights that are saved or restored must be whole in each process.",
                f"{variable.path!r}, which is divided among processes",
                "Divide weights among the devices of a process, and batches among processes.",
            )


def _of_torch(model: Any) -> Processes:
    import torch.distributed

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return Processes()

    def share(text: str) -> str:
        box = [text]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    several = torch.distributed.get_world_size() > 1
    return _Several(torch.distributed.get_rank() == 0, share) if several else Processes()


def _of_tensorflow(model: Any) -> Processes:
    import tensorflow as tf

    strategy = getattr(model, "distribute_strategy", None)
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return Processes()
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec()
    jobs = [job for job in cluster.jobs if job in ("chief", "worker")]
    if sum(cluster.num_tasks(job) for job in jobs) < 2:
        return Processes()
    first = "chief" if "chief" in jobs else "worker"

    @tf.function(autograph=False, reduce_retracing=True)
    def summed(values: Any) -> Any:
        def of_the_first() -> Any:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(tf.equal(number, 0), values, tf.zeros_like(values))

        return strategy.reduce("SUM", strategy.run(of_the_first), axis=None)

    # As float32, which has all bytes and which every device sums.
    def broadcast(array: Any) -> Any:
        return summed(tf.constant(array, "float32")).numpy()

    return _Several((resolver.task_type, resolver.task_id) == (first, 0), lambda text: _as_arrays(text, broadcast))


def _of_jax(model: Any) -> Processes:
    import jax

    if jax.process_count() < 2:
        return Processes()
    from jax.experimental import multihost_utils

    return _Several(jax.process_index() == 0, lambda text: _as_arrays(text, multihost_utils.broadcast_one_to_all))


def _as_arrays(text: str, broadcast: Callable[[Any], Any]) -> str:
    """Share a text by means of arrays, whose shape all processes must know before: its length, then its bytes."""
    content = np.frombuffer(text.encode(), np.uint8).astype("float32")
    length = int(np.asarray(broadcast(np.array([len(content)], "float32")))[0])
    padded = np.zeros(length, "float32")
    padded[: len(content)] = content
    return np.asarray(broadcast(padded)).astype(np.uint8).tobytes().decode()
