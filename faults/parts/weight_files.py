"""Files of weights, of data and of models, damaged and hostile, through everything that reads them."""

from __future__ import annotations

import functools
import itertools
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from safetensors.numpy import save_file

from faults.apart import Ground
from faults.files import archives, damage, hdf5, pth, safetensors
from faults.files.damage import Case
from faults.trials import Fault, Settings, Trials
from keras_sgdr import cli
from keras_sgdr._files import sha256
from keras_sgdr.models import load_state_dict, state_dict
from keras_sgdr.snapshots import Manifest, Snapshot, SnapshotEnsemble, architecture, save_weights
from torch_reference.models import read_state_dict

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def trials(settings: Settings) -> Iterator[Trials]:
    draw = random.Random(settings.seed)
    many = settings.count(20, 4)
    with tempfile.TemporaryDirectory() as name:
        ground = Ground(Path(name))
        yield control(ground)
        whole = state()
        torch.save({name: torch.tensor(array) for name, array in whole.items()}, ground.files / "whole.pth")
        torch.save(
            torch.load(ground.files / "whole.pth"), ground.files / "old.pth", _use_new_zipfile_serialization=False
        )
        save_file(whole, ground.files / "whole.safetensors")
        of_torch = list(sample(settings, pth_cases(ground, many, draw)))
        of_safetensors = list(sample(settings, safetensors_cases(ground, many, draw)))
        yield state_dicts(ground, ".pth", of_torch)
        yield state_dicts(ground, ".safetensors", of_safetensors)
        yield reference(
            ground, [*((".pth", each) for each in of_torch), *((".safetensors", each) for each in of_safetensors)]
        )
        yield from ensembles(ground, settings, many, draw)


def sample(settings: Settings, cases: Iterable[Case]) -> Iterator[Case]:
    """All, or in short every ninth."""
    return itertools.islice(cases, 0, None, settings.count(1, 9))


def control(ground: Ground) -> Trials:
    """The code that is in the files would run, where nothing refuses it, and that would be found."""
    found = Trials("Control: code that nothing refuses")
    ran = Trials("")
    call = next(case for case in pth.programs(ground.canary) if "control" in case.name)
    path = ground.files / "control"
    call.write(path)
    ground.attempt(ran, call.name, lambda: pickle.loads(path.read_bytes()))
    found.tried = 1
    if [kind for kind, _, _ in ran.faults] != ["executed"]:
        found.add("wrong", call.name, f"it was not found: {ran.faults}")
    return found


def pth_cases(ground: Ground, many: int, draw: random.Random) -> Iterator[Case]:
    """Files of PyTorch."""
    for layout in ("whole", "old"):
        data = (ground.files / f"{layout}.pth").read_bytes()
        yield from damage.cut(data, many, draw)
        yield from damage.changed(data, many, draw)
    yield from damage.other_content(data, draw)
    yield from damage.in_place_of()
    yield from pth.programs(ground.canary)
    yield from pth.pickles()
    yield from pth.tensors()
    yield from pth.archives(ground.beside)


def safetensors_cases(ground: Ground, many: int, draw: random.Random) -> Iterator[Case]:
    """Files of safetensors."""
    data = (ground.files / "whole.safetensors").read_bytes()
    yield from damage.cut(data, many, draw)
    yield from damage.changed(data, many, draw)
    yield from damage.other_content(data, draw)
    yield from damage.in_place_of()
    yield from safetensors.headers(data)


def written(ground: Ground, case: Case, name: str) -> Path:
    """The file of a case, in a folder of its own."""
    folder = ground.files / "case"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    case.write(folder / name)
    return folder / name


def state_dicts(ground: Ground, suffix: str, cases: Iterable[Case]) -> Trials:
    """`load_state_dict`: a file is read as PyTorch reads it, or refused, and then nothing is changed."""
    found = Trials(f"Damaged and hostile {suffix} files, into `load_state_dict`")
    model = network()
    before = state_dict(model)

    def load(path: Path, case: Case) -> None:
        try:
            load_state_dict(model, path)
        except Exception:
            if different(state_dict(model), before):
                raise Fault("wrong", "it was refused, and the model was changed") from None
            raise
        now = state_dict(model)
        if not different(now, {**before, **state()}):
            return
        theirs = state() if suffix != ".pth" else torch_reads(path)
        # One byte is part of one number.
        if len(different(now, {**before, **theirs})) > (suffix != ".pth" and not case.refused):
            raise Fault("wrong", "other numbers were read than are in the file")

    for case in cases:
        path = written(ground, case, f"weights{suffix}")
        action = functools.partial(load, path, case)
        ground.attempt(found, case.name, action, names=str(path), must_refuse=case.refused)
    return found


def reference(ground: Ground, cases: Iterable[tuple[str, Case]]) -> Trials:
    """`torch_reference.models.read_state_dict`, which reads any flat state dict."""
    left_out = ("a deep tuple as key", "a tuple that doubles, as key", "a pickle that unpacks to 400 MB")
    found = Trials("The same, into `torch_reference`")
    found.note = f"Without {', '.join(left_out)}: they end, hang or fill PyTorch's own `torch.load`."

    def read(path: Path) -> None:
        given = read_state_dict(path)
        if not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in given.items()):
            raise Fault("wrong", "something else than tensors was read")

    for suffix, case in cases:
        if case.name.startswith(left_out):
            continue
        path = written(ground, case, f"weights{suffix}")
        ground.attempt(found, f"{suffix}, {case.name}", functools.partial(read, path), names=str(path))
    return found


def ensembles(ground: Ground, settings: Settings, many: int, draw: random.Random) -> Iterator[Trials]:
    """Snapshots' weights, the model's file and the data's, into an ensemble and its command."""
    whole = ground.files / "whole"
    whole.mkdir()
    model = classifier()
    model.save(whole / "model.keras")
    np.savez(whole / "data.npz", x=X, y=np.array([0, 1, 0, 1]))
    save_weights(model, str(whole / SNAPSHOT.file))
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(X)))
    listed = replace(SNAPSHOT, sha256=sha256(whole / SNAPSHOT.file), architecture=architecture(model))
    Manifest(whole, "SGDR", [listed]).write()

    def predict(folder: Path) -> None:
        before = [np.array(each) for each in model.get_weights()]
        try:
            mean = SnapshotEnsemble.load(folder, model, from_logits=True).predict(X)
        finally:
            if not all(map(np.array_equal, before, model.get_weights())):
                raise Fault("wrong", "the model was changed")
        if np.shape(mean) != expected.shape:
            raise Fault("wrong", "predictions have another shape")

    data = (whole / SNAPSHOT.file).read_bytes()
    for listing in ("listed as it was before", "listed as it is"):
        found = Trials(f"Damaged and hostile .weights.h5 files, {listing}, into an ensemble")
        cases = [
            *damage.cut(data, many, draw),
            *damage.changed(data, many, draw),
            *damage.other_content(data, draw),
            *damage.in_place_of(),
            *hdf5.edited(whole / SNAPSHOT.file, ground.secret),
        ]
        for case in sample(settings, cases):
            path = written(ground, case, SNAPSHOT.file)
            as_is = listing == "listed as it is"
            digest = sha256(path) if as_is and path.is_file() else listed.sha256
            Manifest(path.parent, "SGDR", [replace(listed, sha256=digest)]).write()
            action = functools.partial(predict, path.parent)
            ground.attempt(found, case.name, action, names=str(path), must_refuse=case.refused or not as_is)
        yield found

    def command(folder: Path, model: Path, data: Path) -> None:
        options = ["--model", str(model), "--data", str(data), "-o", str(folder / "mean.npy")]
        cli.run(["ensemble", str(whole), *options])
        mean = np.load(folder / "mean.npy")
        if not np.allclose(mean, expected, atol=1e-6):
            raise Fault("wrong", "other predictions than the model's")

    def commands(what: str, name: str, cases: Iterable[Case], arguments: Callable[[Path], tuple[Path, Path]]) -> Trials:
        found = Trials(f"{what} files, into `keras-sgdr ensemble`")
        for case in sample(settings, cases):
            path = written(ground, case, name)
            action = functools.partial(command, path.parent, *arguments(path))
            # Of whole arrays that do not fit one another, the error names these.
            names = None if case.name.startswith(("an x of", "a y of")) else str(path)
            ground.attempt(found, case.name, action, names=names, must_refuse=case.refused)
        return found

    def damaged(data: bytes) -> Iterator[Case]:
        yield from damage.cut(data, many // 2, draw)
        yield from damage.changed(data, many // 2, draw)
        for case in damage.other_content(data, draw):
            # An archive may follow after something else.
            yield case._replace(refused=case.name != "without its first byte")
        yield from damage.in_place_of()

    cases = [*damaged((whole / "data.npz").read_bytes()), *archives.arrays(X, ground.canary)]
    yield commands("Damaged and hostile .npz", "data.npz", cases, lambda path: (whole / "model.keras", path))
    cases = [
        *damaged((whole / "model.keras").read_bytes()),
        *archives.configurations(whole / "model.keras", ground.canary, ground.beside),
    ]
    yield commands("Damaged and hostile .keras", "model.keras", cases, lambda path: (path, whole / "data.npz"))


SNAPSHOT = Snapshot(1, 1.0, 3, 0.1, {"val_loss": 1.0}, "cycle-001_epoch-0001.weights.h5", "", keras.__version__, "")


def classifier() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def network() -> Any:
    """Named as a torch module with `conv1`, `layer1.0.bn1`, `fc`."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False, name="conv1"),
            keras.layers.BatchNormalization(name="layer1_0_bn1"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, name="fc"),
        ]
    )


def state() -> dict[str, Any]:
    """What the network's weights are in the whole files."""
    generator = np.random.default_rng(1)
    shapes = {"conv1.weight": (4, 3, 3, 3), "fc.weight": (3, 4), "fc.bias": (3,)}
    shapes |= {f"layer1.0.bn1.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")}
    return {name: generator.random(shape, "float32") for name, shape in shapes.items()}


def torch_reads(path: Path) -> dict[str, Any]:
    """The tensors of a file, as PyTorch reads it."""
    given = torch.load(path, weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in given.items()}


def different(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """The numbers in which two state dicts differ."""
    return [
        f"{name} {index}"
        for name, array in ours.items()
        for index in np.argwhere(~((array == theirs[name]) | (np.isnan(array) & np.isnan(theirs[name]))))
    ]
