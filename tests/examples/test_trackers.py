"""The recipes of docs/guide/trackers.md: what the tools have stored and searched is what was trained."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import pytest

from keras_sgdr import SGDR, SnapshotCheckpoint, WarmRestarts
from keras_sgdr.snapshots import Manifest
from tests.support.addresses import other_addresses
from tests.support.pages import CHECKOUT
from tests.support.probe import Raise
from tests.support.snapshots import whole_files
from tests.support.trackers import FOLDS, in_mlflow, in_tensorboard, in_wandb

pytestmark = pytest.mark.slow

PAGE = CHECKOUT / "docs" / "guide" / "trackers.md"
EPOCHS, SAMPLES = 6, 512
SECONDS = 300


def rates_of(steps: int, schedule: WarmRestarts | None = None) -> list[float]:
    """The rate of each update of a training."""
    schedule = schedule or WarmRestarts(2, 2, 0.1)
    return [float(np.float32(rate)) for rate in schedule.learning_rates(EPOCHS, steps)]


RATES = rates_of(SAMPLES // 32)
LAST = RATES[SAMPLES // 32 - 1 :: SAMPLES // 32]
"""Of each epoch."""


def processes_at(home: Path) -> list[str]:
    """The processes whose home is this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page was run, in a process to which it is home. Nothing else was contacted or goes on."""
    folder = tmp_path_factory.mktemp("trackers")
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(folder))
    silence = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
    backend = {"KERAS_BACKEND": keras.config.backend(), "MPLBACKEND": "Agg", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "tests.support.trackers", str(PAGE)]
    environment = os.environ | places | silence | backend
    with other_addresses() as addresses:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert not addresses
    until = time.monotonic() + 30
    while processes_at(folder) and time.monotonic() < until:
        time.sleep(0.5)
    assert processes_at(folder) == []
    return folder


def test_tensorboard_has_the_rates(folder: Path) -> None:
    stored = in_tensorboard(folder / "tensorboard" / "train")
    assert stored["epoch_learning_rate"] == list(enumerate(LAST))
    assert stored["batch_learning_rate"] == list(enumerate(RATES))


def test_mlflow_has_the_rates(folder: Path) -> None:
    by_callback, by_autolog = in_mlflow(folder / "mlflow.db")
    assert by_callback[0]["T_0"] == "2.0"
    for parameters, metrics in (by_callback, by_autolog):
        assert metrics["learning_rate"] == list(enumerate(LAST))
        assert float(parameters["optimizer_learning_rate"]) == np.float32(0.1)


def test_wandb_has_the_rates(folder: Path) -> None:
    by_epoch, by_batch = (in_wandb(file) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")))
    assert [(row["epoch/epoch"], row["epoch/learning_rate"]) for row in by_epoch] == list(enumerate(LAST))
    assert [row["epoch/learning_rate"] for row in by_batch if "epoch/epoch" in row] == LAST
    # Each one of the update after; after the last there is none.
    ahead = [row["batch/learning_rate"] for row in by_batch if "batch/learning_rate" in row]
    assert ahead == [*RATES[1:], RATES[-1]]


def check_trials(settings: list[dict[str, Any]], folders: list[Path]) -> None:
    """Check that the trials are different ones, and each folder of snapshots is that of its trial."""
    assert len(settings) == len(folders) == 3
    assert len({(each["T_0"], each["eta_max"]) for each in settings}) == 3
    for setting, folder in zip(settings, folders, strict=True):
        assert len(whole_files(folder)) == EPOCHS // setting["T_0"]
        steps = SAMPLES * 3 // 4 // 32
        rates = rates_of(steps, WarmRestarts(setting["T_0"], 1, setting["eta_max"]))
        ends = range(setting["T_0"] * steps, len(rates) + 1, setting["T_0"] * steps)
        applied = [np.float32(each.rate) for each in Manifest.read(folder).snapshots]
        assert applied == [rates[end - 1] for end in ends]


def test_each_trial_of_keras_tuner_has_a_folder(folder: Path) -> None:
    trials = sorted(folder.glob("keras_tuner/untitled_project/trial_*"))
    states = [json.loads((trial / "trial.json").read_text()) for trial in trials]
    assert [state["status"] for state in states] == ["COMPLETED"] * 3
    check_trials([state["hyperparameters"]["values"] for state in states], [trial / "snapshots" for trial in trials])


def test_each_trial_of_optuna_has_a_folder(folder: Path) -> None:
    import optuna

    *trials, later = optuna.load_study(study_name="SGDR", storage=f"sqlite:///{folder / 'optuna.db'}").trials
    check_trials([trial.params for trial in trials], [folder / "optuna" / str(trial.number) for trial in trials])
    for trial in trials:
        snapshots = Manifest.read(folder / "optuna" / str(trial.number)).snapshots
        losses = {int(each.epoch) - 1: each.metrics["val_loss"] for each in snapshots}
        assert trial.intermediate_values == losses
        assert trial.value == losses[EPOCHS - 1]
    # Pruned at the end of its first cycle.
    assert later.state == optuna.trial.TrialState.PRUNED
    assert len(whole_files(folder / "optuna" / "3")) == len(later.intermediate_values) == 1


def test_each_fold_of_scikit_learn_is_trained_under_sgdr(folder: Path) -> None:
    trained = json.loads((folder / FOLDS).read_text())
    # 341 or 342 samples.
    assert trained["folds"] == [rates_of(11)] * 3
    # With all samples, once the search has ended.
    best = trained["best"]
    assert best["rates"] == rates_of(SAMPLES // 32, WarmRestarts(best["T_0"], best["T_mult"], 0.1))
    assert trained["candidates"] == [2.0, 3.0]
    assert [len(whole_files(folder / "folds" / str(number))) for number in range(3)] == [2, 2, 2]


# What the page says of other ways.


@pytest.fixture
def data() -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
    return x, (x.sum(axis=1) > 0).astype("int32")


def compiled(loss: str = "sparse_categorical_crossentropy") -> Any:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def searching(tuner: Any, interrupted: str | None = None) -> Any:
    """A class of tuner as on the page, of cycles of one epoch, with a trial that is interrupted in its second."""

    class Search(tuner):
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
            snapshots = SnapshotCheckpoint(Path(self.get_trial_dir(trial.trial_id), "snapshots"), resume=True)
            callbacks = [SGDR(1, 1, trial.hyperparameters.get("eta_max")), snapshots]
            if trial.trial_id == interrupted:
                callbacks.append(Raise("on_epoch_end"))
            return super().run_trial(trial, *args, callbacks=callbacks, **kwargs)

    return Search


def build(hp: Any) -> Any:
    hp.Float("eta_max", 0.01, 0.1)
    return compiled()


# It asks for the thread's name by a function of old.
of_keras_tuner = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")


@of_keras_tuner
@pytest.mark.parametrize(
    ("max_trials", "ended"), [(3, contextlib.nullcontext()), (4, pytest.raises(RuntimeError, match="consecutive"))]
)
def test_a_folder_for_all_trials_is_refused_and_keras_tuner_goes_on(
    max_trials: int, ended: Any, tmp_path: Path, data: Any
) -> None:
    import keras_tuner

    tuner = keras_tuner.RandomSearch(build, "val_loss", max_trials=max_trials, directory=tmp_path / "tuner")
    callbacks = [SGDR(1, 1), SnapshotCheckpoint(tmp_path / "snapshots")]
    with ended:
        tuner.search(*data, epochs=2, validation_data=data, callbacks=callbacks, verbose=0)
    trials = list(tuner.oracle.trials.values())
    assert [trial.status for trial in trials] == ["COMPLETED", *["FAILED"] * (max_trials - 1)]
    assert all("Each trial of a search" in trial.message for trial in trials[1:])
    assert len(whole_files(tmp_path / "snapshots")) == 2


@of_keras_tuner
# Of one that is interrupted in its first trial, KerasTuner has stored nothing.
@pytest.mark.filterwarnings("ignore:With `resume=True` the folder is that of:UserWarning")
@pytest.mark.parametrize(("interrupted", "overwrite"), [("0", True), ("1", False)])
def test_a_trial_of_keras_tuner_that_is_run_again_has_whole_snapshots(
    interrupted: str, overwrite: bool, tmp_path: Path, data: Any
) -> None:
    import keras_tuner

    def search(interrupted: str | None = None, overwrite: bool = False) -> Any:
        options = {"max_trials": 2, "executions_per_trial": 2, "directory": tmp_path, "overwrite": overwrite}
        tuner = searching(keras_tuner.RandomSearch, interrupted)(build, "val_loss", **options)
        tuner.search(*data, epochs=3, validation_data=data, verbose=0)
        return tuner

    with pytest.raises(KeyboardInterrupt):
        search(interrupted)
    assert [trial.status for trial in search(None, overwrite).oracle.trials.values()] == ["COMPLETED"] * 2
    folders = sorted(tmp_path.glob("untitled_project/trial_*/snapshots"))
    assert [len(whole_files(folder)) for folder in folders] == [3, 3]


@of_keras_tuner
def test_hyperband_goes_on_with_a_trial_in_a_new_one(tmp_path: Path, data: Any) -> None:
    import keras_tuner

    tuner = searching(keras_tuner.Hyperband)(build, "val_loss", max_epochs=3, directory=tmp_path)
    tuner.search(*data, validation_data=data, verbose=0)
    trials = tuner.oracle.trials.values()
    assert {trial.status for trial in trials} == {"COMPLETED"}
    rounds = [[trial.hyperparameters.get(f"tuner/{name}") for name in ("initial_epoch", "epochs")] for trial in trials]
    assert [1, 3] in rounds
    for trial, (first, last) in zip(trials, rounds, strict=True):
        # What it begins with is the end of a cycle too.
        snapshots = Manifest.read(Path(tuner.get_trial_dir(trial.trial_id), "snapshots")).snapshots
        assert [snapshot.epoch for snapshot in snapshots] == list(range(max(first, 1), last + 1))


# Exempt in pyproject.toml by its module, which is lost where `pytest.warns` passes it on.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_folder_for_all_folds_is_refused(tmp_path: Path, data: Any) -> None:
    from scikeras.wrappers import KerasClassifier
    from sklearn.exceptions import FitFailedWarning
    from sklearn.model_selection import cross_val_score

    callbacks = [SGDR(1, 1), SnapshotCheckpoint(tmp_path)]
    classifier = KerasClassifier(compiled, epochs=2, callbacks=callbacks, verbose=0)
    with pytest.warns(FitFailedWarning, match="each fold of a cross-validation needs a folder of its own"):
        scores = cross_val_score(classifier, *data, cv=3)
    assert np.isnan(scores).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="belongs to one run"):
        cross_val_score(classifier, *data, cv=3, error_score="raise")


def test_clones_and_later_fits_of_a_classifier_are_under_sgdr(data: Any) -> None:
    from scikeras.wrappers import KerasClassifier
    from sklearn.base import clone

    classifier = KerasClassifier(compiled, epochs=EPOCHS, callbacks=[SGDR(2, 2)], verbose=0)
    before = clone(classifier)
    for fitted in (classifier, classifier, before, clone(classifier)):
        fitted.fit(*data)
        assert fitted.callbacks[0].rates.tolist() == rates_of(3)
        assert fitted.history_["learning_rate"] == rates_of(3)[2::3]
    assert before.callbacks[0] is not classifier.callbacks[0]


def test_keras_own_classifier_loses_its_callbacks_when_cloned(data: Any) -> None:
    from sklearn.base import clone
    from sklearn.model_selection import cross_validate

    def build(X: Any, y: Any) -> Any:  # The names that Keras calls it with.
        return compiled("categorical_crossentropy")

    classifier = keras.wrappers.SKLearnClassifier(build, fit_kwargs={"epochs": EPOCHS, "callbacks": [SGDR(2, 2)]})
    classifier.fit(*data)
    assert classifier.history_.history["learning_rate"] == rates_of(3)[2::3]
    assert clone(classifier).fit_kwargs is None
    assert clone(keras.wrappers.SKLearnRegressor(build, fit_kwargs={"epochs": EPOCHS})).fit_kwargs is None
    for fold in cross_validate(classifier, *data, cv=3, return_estimator=True)["estimator"]:
        assert fold.history_.epoch == [0]
        assert "learning_rate" not in fold.history_.history

    sgdr = SGDR(2, 2)
    options = {"epochs": EPOCHS, "callbacks": [sgdr]}
    plain = keras.wrappers.SKLearnClassifier(build)
    for fold in cross_validate(plain, *data, cv=3, return_estimator=True, params=options)["estimator"]:
        assert fold.history_.history["learning_rate"] == rates_of(2)[1::2]
