"""How much of an epoch was run: the optimizer's own count of updates beside the batches that were executed."""

from __future__ import annotations

from fractions import Fraction

from keras_sgdr._checks import invalid
from keras_sgdr.callbacks.step.compiled_step import CompiledStep

__all__ = ["batches_run", "refuse_count", "refuse_length"]


def batches_run(
    updates: int, step: CompiledStep | None, per_batch: Fraction, expected: int | None, *, short: bool
) -> int | None:
    """The number of batches in which an epoch's updates were made; None where no number fits them.

    Args:
        updates: Updates of the epoch that the optimizer has counted.
        step: What has counted the batches; None where the loop has a step of its own.
        per_batch: Updates per batch. Where they are a fraction, epochs may differ by one update.
        expected: Batches of an epoch, where they are known.
        short: Whether an execution of several batches may have found fewer.
    """
    if step is None or (updates and not step.batches and not step.ran_out):
        low = high = round(updates / per_batch)
    else:
        low, high = step.batches - max(step.last, 1) + 1, step.batches
    likely = expected if expected is not None and low <= expected <= high else high
    for batches in (likely, *(range(high, low - 1, -1) if short else ())):
        if abs(updates - batches * per_batch) < 1:
            return batches
    # TensorFlow may also count the attempt that finds no more data.
    attempted = step is not None and step.ran_out and 0 < updates - high * per_batch <= per_batch
    return high if attempted else None


def refuse_count(name: str, updates: int, batches: int, per_batch: Fraction, epoch: int, *, is_several: bool) -> None:
    """Raise the error for updates that are not as many as the batches tell.

    Args:
        name: Of the optimizer.
        updates: Its updates in the epoch.
        batches: Batches of the epoch.
        per_batch: Updates per batch that there should be.
        epoch: From 0.
        is_several: Whether an execution is of several batches.
    """
    received = f"{updates} updates of the optimizer {name!r} in the {batches} batches of epoch {epoch + 1}"
    if not updates:
        rule = "`SGDR` sets the learning rate of the optimizer that makes the updates."
        raise invalid(rule, received, "Pass the one that does, such as `SGDR(optimizer=model.d_optimizer)`.")
    number = Fraction(updates, max(batches, 1))
    argument = str(number) if number.denominator == 1 else f"Fraction({number.numerator}, {number.denominator})"
    raise invalid(
        f"The cycles are counted in updates, {per_batch} per batch.",
        received,
        f"If the training step makes as many in every epoch, pass `SGDR(updates_per_batch={argument})`."
        + is_several * " Where the data end early or go on, let `steps_per_execution` divide the batches of an epoch.",
    )


def refuse_length(batches: int, steps: int, epoch: int, *, from_fit: bool) -> None:
    """Raise the error for an epoch whose batches are not as many as the schedule was made for.

    Args:
        batches: Of the epoch.
        steps: What there should be.
        epoch: From 0.
        from_fit: Whether Keras told their number, not the user.
    """
    source = "when training began" if from_fit else "by `steps_per_epoch`"
    raise invalid(
        "Every epoch must have as many batches as the schedule was made for.",
        f"{batches} batches in epoch {epoch + 1}, and {steps} {source}",
        "Let the data keep their number, or pass `steps_per_epoch` to `fit`."
        if from_fit
        else f"Pass `SGDR(steps_per_epoch={batches})`.",
    )
