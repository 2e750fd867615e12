"""Files are made by torch itself, in a process of its own, or by hand."""

from __future__ import annotations

import collections
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_sgdr.models.pth import MAGIC, PROTOCOL, read_pth
from tests.support.pth_files import pickled_tensor, write_zip
from tests.support.time_limit import within_seconds


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


# Files that are small, and cost much where they are followed


def doubled(leaf: bytes, wrap: bytes, times: int = 60) -> bytes:
    """Tuples of tuples, each twice the one before: to hash or to print it takes 2**60 steps."""
    return leaf + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + wrap for i in range(times))


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"


def storage_of(length: int, key: bytes = b"S'0'\n", dtype: bytes = b"FloatStorage") -> bytes:
    return b"(S'storage'\nctorch\n" + dtype + b"\n" + key + b"S'cpu'\nI%d\ntQ" % length


LIST_OF_PAIRS = b"(" + b"(S'a'\nI1\nl" * 10_000 + b"lq\x00"
# Pickles by name, each with what the error says of it.
HOSTILE: dict[str, tuple[bytes, str]] = {
    "a deep tuple as key": (b"\x80\x02})" + b"\x85" * 10**6 + b"K\x01s.", "more than 100000 instructions"),
    "a less deep tuple as key": (b"\x80\x02})" + b"\x85" * 50_000 + b"K\x01s.", "not a flat mapping"),
    "a deep tuple in a list of pairs": (
        b"\x80\x02ccollections\nOrderedDict\n((" + b")" + b"\x85" * 50_000 + b"K\x01\x86ltR.",
        "not a flat mapping",
    ),
    "a deep tuple in a name": (b"\x80\x04)" + b"\x85" * 50_000 + b"\x8c\x01a\x93.", "something without a name"),
    "a deep tuple as storage": (b"\x80\x02)" + b"\x85" * 50_000 + b"Q.", "not enough values|unknown kind|unpack"),
    "a deep tuple as the key of a storage": (
        storage_of(4, key=b")" + b"\x85" * 50_000) + b".",
        "an object of unknown kind",
    ),
    "a tuple that doubles as key": (b"\x80\x02}" + doubled(b")", b"\x86") + b"K\x01s.", "not a flat mapping"),
    "a tuple that doubles as storage": (
        b"\x80\x02(S'storage'\nctorch\nFloatStorage\nS'0'\n" + doubled(b")", b"\x86") + b"I4\n" + b"h\x00tQ.",
        "an object of unknown kind",
    ),
    "a list that is gone through often": (
        LIST_OF_PAIRS + b"ccollections\nOrderedDict\n(h\x00tR" * 10_000 + b".",
        "more than 100000 instructions",
    ),
    "a text that says it is long": (b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"a.", "expected|bytes"),
    "a number of many digits": (b"L" + b"9" * 10**5 + b"L\n.", "limit|integer string"),
    "more marks than there are": (b"\x80\x02t.", "pop from empty list"),
    "more values than there are": (b"\x80\x02K\x01\x87.", "takes more than there is"),
    "an instance": (b"(cos\nsystem\no.", r"os\.system, which is no tensor and was not run"),
    "an instance by name": (b"(ios\nsystem\n.", "the instruction INST"),
    "an extension": (b"\x80\x02\x82\x01.", "the instruction EXT1"),
    "nothing": (b"", "pickle exhausted|not a flat mapping"),
}


def refused(path: Path, message: str) -> None:
    with within_seconds(2), pytest.raises(ValueError, match=rf"Received: {path}: .*({message})"):
        read_pth(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_costs_little(tmp_path: Path, name: str) -> None:
    pickled, message = HOSTILE[name]
    refused(write_zip(tmp_path / "hostile.pth", pickled), message)


@pytest.mark.parametrize("write", [write_legacy, Path.write_bytes])
def test_a_pickle_that_would_end_the_interpreter_is_refused(
    tmp_path: Path, write: Callable[[Path, bytes], Any]
) -> None:
    write(tmp_path / "hostile.pth", HOSTILE["a deep tuple as key"][0])
    refused(tmp_path / "hostile.pth", HOSTILE["a deep tuple as key"][1])


def test_one_number_as_a_tensor_of_any_size_takes_no_memory(tmp_path: Path) -> None:
    pickled = pickled_tensor(1, 0, (10**9,), (0,))
    path = write_zip(tmp_path / "t.pth", pickled, bytes(4))
    tracemalloc.start()
    assert read_pth(path)["weight"].shape == (10**9,)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("size", "stride", "message"),
    [
        ((2**40, 2**40), (0, 0), "array is too big|Maximum allowed|too large"),
        ((1,), (10**30,), "too large|too big|int"),
        ((0, 10**30), (1, 1), "too large|dimension|too big|int"),
        ((1,) * 100, (1,) * 100, "dimension"),
    ],
    ids=["two to the 80", "a stride of 100 bits", "a side of 100 bits", "100 dimensions"],
)
def test_a_tensor_of_impossible_size_is_refused(tmp_path: Path, size: Any, stride: Any, message: str) -> None:
    write_zip(tmp_path / "t.pth", pickled_tensor(4, 0, size, stride), bytes(16))
    refused(tmp_path / "t.pth", message)


@pytest.mark.parametrize("bad", [b"S'3'\n", b"F3.0\n", b"I01\n", b"N", b"(l"])
def test_sizes_that_are_no_integers_are_refused(tmp_path: Path, bad: bytes) -> None:
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    for arguments in (b"I0\n(" + bad + b"t" + numbers(1), bad + numbers(3) + numbers(1)):
        pickled = b"(S'weight'\n" + rebuild + b"(" + storage_of(4) + arguments + b"I00\nNtRd."
        refused(write_zip(tmp_path / "t.pth", pickled, bytes(16)), "sizes that are no integers")


def test_an_archive_that_unpacks_to_more_than_it_is_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "packed.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickled_tensor(10**7, 0, (10**7,), (1,)))
        with archive.open("archive/data/0", "w") as member:
            for _ in range(10):
                member.write(bytes(4 * 10**6))
    assert path.stat().st_size < 10**6
    refused(path, r"its \d+ bytes unpack to 4\d{7}, while PyTorch does not pack them")


def test_a_storage_of_the_old_format_that_says_it_is_long_is_refused(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "t.pth", pickled_tensor(2**60, 0, (4,), (1,)))
    path.write_bytes(path.read_bytes()[: -len(pickle.dumps([], 2))] + pickle.dumps(["0"], 2) + b"\xff" * 7 + b"\0" * 17)
    refused(path, "storage 0 has 16 bytes")


def test_an_archive_whose_directory_is_elsewhere_is_named(tmp_path: Path) -> None:
    """To seek there is an error of the system, which names no file."""
    path = write_zip(tmp_path / "t.pth", pickled_tensor(4, 0, (4,), (1,)), bytes(16))
    end = len(path.read_bytes()) - 22
    whole = path.read_bytes()
    path.write_bytes(whole[: end + 16] + (2**31).to_bytes(4, "little") + whole[end + 20 :])
    refused(path, "")


def test_a_mapping_that_python_2_wrote_is_read(tmp_path: Path) -> None:
    """Its `OrderedDict` is called with a list of pairs."""
    pair = pickled_tensor(4, 1, (3,), (1,))[1:-2]  # Without the mark, and without `d.`
    pickled = b"ccollections\nOrderedDict\n(((" + pair + b"lltR."
    path = write_zip(tmp_path / "t.pth", pickled, np.arange(4, dtype="<f4").tobytes())
    np.testing.assert_array_equal(read_pth(path)["weight"], [1, 2, 3])
