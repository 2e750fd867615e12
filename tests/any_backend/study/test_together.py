"""Runs that are trained together on JAX: the results of runs trained alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from keras_sgdr import StepDecay, WarmRestarts
from keras_sgdr.study import Study, execution
from keras_sgdr.study.together import TogetherTrainer
from tests.support.study_nets import EPOCHS, compiled, image_model, image_study

IS_JAX = keras.config.backend() == "jax"
on_jax = pytest.mark.skipif(not IS_JAX, reason="Of JAX.")
SCHEDULES = {"SGDR (1, 2)": WarmRestarts(1, 2, 0.1), "constant": StepDecay(0.1, gamma=1)}
OPTIONS: dict[str, Any] = {"schedules": SCHEDULES, "seeds": [0, 3], "keep_outputs": True}


@pytest.fixture(params=["float64", "float32"])
def tolerance(request: pytest.FixtureRequest) -> Iterator[float]:
    """Of the precision that it sets: XLA adds up in another order where runs are mapped."""
    import jax

    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield {"float64": 1e-10, "float32": 1e-4}[request.param]
    jax.config.update("jax_enable_x64", False)
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def cut(images: Any, draws: Any = None) -> Any:
    """In place of crops, which are made in float32."""
    return ops.cast(images[:, :8, :8], keras.config.floatx())


def model_in_float64() -> Any:
    """Without BatchNorm, whose statistics Keras computes in float32 in any case."""
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(3, 3, activation="relu"), keras.layers.Flatten()]
    return compiled([keras.Input((8, 8, 3)), *layers, keras.layers.Dropout(0.2), keras.layers.Dense(2)])


def tables(folder: Path, **options: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    model_fn = model_in_float64 if keras.config.floatx() == "float64" else image_model
    study = image_study(folder, model_fn=model_fn, augment=cut, prepare=cut, **OPTIONS)
    study.run(progress=False, **options)
    assert study.failures.empty
    return study.results, study.ensembles


@on_jax
@pytest.mark.slow
def test_together_is_as_alone(tolerance: float, tmp_path: Path) -> None:
    """Four runs, three of them together, with dropout, and a last batch that is smaller; in float32 with BatchNorm."""
    alone, together = tables(tmp_path / "alone"), tables(tmp_path / "together", together=3)
    for one, other in zip(alone, together, strict=True):
        # Accuracies are shares of samples, which another order of adding up could change by one at most.
        pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=tolerance, atol=0)
    results = alone[0]
    first, last = (results[(results["schedule"] == name) & (results["seed"] == 3)]["val_loss"] for name in SCHEDULES)
    # What would pass if all runs were the same run.
    assert np.abs(first.to_numpy() - last.to_numpy()).max() > 100 * tolerance


@on_jax
def test_runs_that_were_stopped_go_on_together(tmp_path: Path) -> None:
    whole = image_study(tmp_path / "whole", **OPTIONS)
    whole.run(together=4, progress=False)
    study = image_study(tmp_path / "stopped", **OPTIONS)
    trainer, store = TogetherTrainer(study.spec), study.store

    def keep(run: Any, progress: Any) -> None:
        store.write_progress(run, trainer.fingerprint, progress)

    results = trainer.run_together(dict.fromkeys(store.runs), keep=keep, stop=lambda: True)
    assert [progress.epochs for progress in results] == [1] * 4
    # One of them begins anew, and so alone.
    next(store.folder.glob("*.npz")).unlink()
    execution._trainers.clear()
    study.run(together=4, progress=False)
    pd.testing.assert_frame_equal(study.results, whole.results, check_exact=False, rtol=1e-5)
    assert len(study.results) == 4 * EPOCHS


@pytest.mark.skipif(IS_JAX, reason="Of the others.")
def test_other_backends_are_refused(tmp_path: Path) -> None:
    message = r"Runs are trained together on the JAX backend\. Received: backend='\w+'\. Set KERAS_BACKEND=jax, or"
    with pytest.raises(ValueError, match=message):
        image_study(tmp_path, **OPTIONS).run(together=2, progress=False)


def test_their_number_must_be_positive(tmp_path: Path) -> None:
    study: Study = image_study(tmp_path)
    with pytest.raises(ValueError, match=r"`together` must be a positive integer\. Received: together=0\. Pass the"):
        study.run(together=0)
