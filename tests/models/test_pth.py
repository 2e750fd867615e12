"""Files are made by torch itself, in a process of its own, or by hand."""

from __future__ import annotations

import collections
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_sgdr.models.pth import MAGIC, PROTOCOL, read_pth


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_every_kind_of_tensor_is_read_as_torch_reads_it(reference: Path, layout: str) -> None:
    theirs = np.load(reference / "kinds.npz")
    ours = read_pth(reference / f"kinds_{layout}.pth")
    assert ours.keys() == set(theirs.files)
    for name in theirs.files:
        assert ours[name].dtype == theirs[name].dtype, name
        np.testing.assert_array_equal(ours[name], theirs[name], strict=True)


class Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.victim),)


def write_zip(path: Path, pickled: bytes, storage: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", storage)
    return path


def write_legacy(path: Path, pickled: bytes) -> Path:
    head = [pickle.dumps(item, 2) for item in (MAGIC, PROTOCOL, {"little_endian": True})]
    path.write_bytes(b"".join([*head, pickled, pickle.dumps([], 2)]))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, write: Any, protocol: int) -> None:
    victim = tmp_path / "victim"
    pickled = pickle.dumps(collections.OrderedDict(weight=Malicious(victim)), protocol)
    path = write(tmp_path / "malicious.pth", pickled)
    with pytest.raises(ValueError, match=rf"{path}: it refers to {os.name}\.mkdir, which is no tensor and was not"):
        read_pth(path)
    assert not victim.exists()
    # The control: the same bytes do run where nothing refuses them.
    pickle.loads(pickled)
    assert victim.exists()


def test_code_before_the_state_dict_is_refused_and_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    path = tmp_path / "malicious.pth"
    path.write_bytes(pickle.dumps(Malicious(victim)))
    with pytest.raises(ValueError, match="it refers to"):
        read_pth(path)
    assert not victim.exists()


def pickled_tensor(length: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """{"weight": a float32 tensor of storage 0}, in pickle's text opcodes, as torch would write it."""

    def numbers(values: tuple[int, ...]) -> str:
        return "(" + "".join(f"I{value}\n" for value in values) + "t"

    storage = f"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{length}\ntQ"
    arguments = f"({storage}I{offset}\n{numbers(size)}{numbers(stride)}I00\nNt"
    return f"(S'weight'\nctorch._utils\n_rebuild_tensor_v2\n{arguments}Rd.".encode()


def test_a_tensor_made_by_hand_is_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "t.pth", pickled_tensor(4, 1, (3,), (1,)), np.arange(4, dtype="<f4").tobytes())
    np.testing.assert_array_equal(read_pth(path)["weight"], [1, 2, 3])


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ((4, 1, (4,), (1,)), "a tensor ends at element 4 of a storage of 4"),
        ((4, 0, (2, 2), (1000, 1)), "a tensor ends at element 1001 of a storage of 4"),
        ((4, -1, (2,), (1,)), "a tensor has offset -1"),
        ((4, 2, (2,), (-1,)), "a tensor has offset 2"),
        ((4, 0, (2,), (1, 1)), "a tensor has offset 0"),
        ((5, 0, (4,), (1,)), "storage 0 has 16 bytes instead of 5 float32"),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path, tensor: Any, message: str) -> None:
    path = write_zip(tmp_path / "t.pth", pickled_tensor(*tensor), bytes(16))
    with pytest.raises(ValueError, match=message):
        read_pth(path)


def test_what_is_no_state_dict_is_refused(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not a flat mapping from names to tensors\. Save the tensors alone"):
        read_pth(reference / "checkpoint.pth")
    with pytest.raises(ValueError, match=r"refers to torch\.nn\.modules\.linear\.Linear, .* Save the tensors alone"):
        read_pth(reference / "module.pth")
    (tmp_path / "other.pth").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"not of a format that PyTorch 0\.4 or later writes"):
        read_pth(tmp_path / "other.pth")
    with pytest.raises(ValueError, match="refers to an object of unknown kind"):
        read_pth(write_zip(tmp_path / "pid.pth", b"(S'module'\nI1\nI2\nI3\nI4\ntQ."))
    with pytest.raises(FileNotFoundError):
        read_pth(tmp_path / "absent.pth")


def test_a_cut_file_is_refused(reference: Path, tmp_path: Path) -> None:
    for layout in ("zip", "legacy"):
        whole = (reference / f"kinds_{layout}.pth").read_bytes()
        path = tmp_path / f"{layout}.pth"
        path.write_bytes(whole[: len(whole) - 60])
        with pytest.raises(ValueError, match=r"A \.pth file must hold a state dict of tensors and nothing else"):
            read_pth(path)
