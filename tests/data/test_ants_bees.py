from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_sgdr._files import sha256
from keras_sgdr.data import ants_bees, drawn_insects
from tests.support import torchvision_pixels

COUNTS = {"train/ants": 123, "train/bees": 121, "val/ants": 70, "val/bees": 83}


def draw_folder(folder: Path, counts: dict[str, int]) -> Path:
    """Drawn insects as files: oblong JPEGs of random names, and the stray GIF."""
    (images, _), _ = drawn_insects(8, 0, image_size=40)
    generator = np.random.default_rng(0)
    for subfolder, count in counts.items():
        (folder / subfolder).mkdir(parents=True)
        for number in generator.permutation(10**6)[:count]:
            height, width = generator.integers(31, 41, 2)
            image = Image.fromarray(images[number % 8, :height, :width])
            image.save(folder / subfolder / f"{number}.jpg")
    Image.fromarray(images[0]).save(folder / "train/ants/imageNotFound.gif")
    return folder


@pytest.fixture(scope="module")
def images_dir(ants_bees_dir: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real images where they are found, else drawn ones in files of the same number."""
    return ants_bees_dir or draw_folder(tmp_path_factory.mktemp("drawn") / "hymenoptera_data", COUNTS)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive as the tutorial's, of two images a class, at the download's address; no images elsewhere."""
    folder = draw_folder(tmp_path / "web" / "hymenoptera_data", dict.fromkeys(COUNTS, 2))
    archive = tmp_path / "web" / "hymenoptera_data.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in folder.rglob("*"):
            opened.write(file, file.relative_to(folder.parent))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("ANTS_BEES_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ants_bees, "URL", archive.as_uri())
    publish(archive, monkeypatch)
    return archive


def publish(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an archive be the published one, as it is now."""
    monkeypatch.setattr(ants_bees, "SHA256", sha256(archive))


@pytest.fixture(scope="module")
def loaded(images_dir: Path) -> Any:
    return ants_bees.load_data(images_dir, image_size=96)


def test_shapes_and_labels(loaded: Any) -> None:
    (x_train, y_train), (x_val, y_val) = loaded
    # 244 and 153: with the GIF it would be 245.
    assert x_train.shape == (244, 96, 96, 3)
    assert x_val.shape == (153, 96, 96, 3)
    assert x_train.dtype == x_val.dtype == np.uint8
    assert ants_bees.classes == ("ants", "bees")
    np.testing.assert_array_equal(y_train, [0] * 123 + [1] * 121)
    np.testing.assert_array_equal(y_val, [0] * 70 + [1] * 83)


def test_pixels_and_order_equal_torchvision(images_dir: Path, loaded: Any, tmp_path: Path) -> None:
    command = [sys.executable, torchvision_pixels.__file__, str(images_dir / "train"), str(tmp_path / "theirs.npz")]
    subprocess.run(command, check=True)
    theirs = np.load(tmp_path / "theirs.npz")
    (images, labels), _ = loaded
    assert tuple(theirs["classes"]) == ants_bees.classes
    assert theirs["count"] == len(images)
    np.testing.assert_array_equal(images[::20], theirs["images"], strict=True)
    np.testing.assert_array_equal(labels[::20], theirs["labels"])


def test_where_images_are_found(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ants_bees.find() is None
    downloaded = draw_folder(tmp_path / "cache/datasets/hymenoptera_data", dict.fromkeys(COUNTS, 1))
    assert ants_bees.find() == downloaded
    draw_folder(Path("data/hymenoptera_data"), dict.fromkeys(COUNTS, 1))
    assert ants_bees.find() == Path("data/hymenoptera_data")
    named = archive.with_suffix("")
    monkeypatch.setenv("ANTS_BEES_DIR", str(named))
    assert ants_bees.find() == named
    assert ants_bees.find(downloaded) == downloaded


def test_download(archive: Path, tmp_path: Path) -> None:
    (x_train, y_train), (x_val, _) = ants_bees.load_data(image_size=24)
    assert x_train.shape == x_val.shape == (4, 24, 24, 3)
    assert y_train.tolist() == [0, 0, 1, 1]
    cache = tmp_path / "cache" / "datasets"
    assert sorted(file.name for file in cache.iterdir()) == ["hymenoptera_data", "hymenoptera_data.zip"]
    # From now on no archive is needed.
    archive.unlink()
    (cache / "hymenoptera_data.zip").unlink()
    np.testing.assert_array_equal(ants_bees.load_data(image_size=24)[0][0], x_train)


@pytest.mark.parametrize("name", ["../escaped.txt", "hymenoptera_data/../../escaped.txt", "/escaped.txt"])
def test_archive_that_escapes_its_folder_is_refused(
    archive: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(name, "")
    publish(archive, monkeypatch)
    with pytest.raises(ValueError, match=r"must lie inside of it\. Received: .*escaped\.txt.* Delete the file"):
        ants_bees.load_data()
    assert not list(tmp_path.rglob("escaped.txt"))
    assert [file.name for file in (tmp_path / "cache/datasets").iterdir()] == ["hymenoptera_data.zip"]


def test_interrupted_extraction_leaves_nothing_half(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: zipfile.ZipFile, path: Path) -> None:
        self.extract(self.namelist()[-1], path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ants_bees.load_data()
    assert [file.name for file in (tmp_path / "cache/datasets").iterdir()] == ["hymenoptera_data.zip"]
    assert ants_bees.load_data(image_size=24)[0][0].shape == (4, 24, 24, 3)


def test_another_process_that_extracts_first_is_no_error(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(self: Path, target: Path) -> None:
        draw_folder(target, dict.fromkeys(COUNTS, 3))
        raise OSError("Directory not empty")

    monkeypatch.setattr(Path, "rename", too_late)
    assert len(ants_bees.load_data(image_size=24)[0][0]) == 6
    assert len(list((tmp_path / "cache/datasets").iterdir())) == 2


def test_extraction_that_fails_says_so(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Path, target: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="No space left"):
        ants_bees.load_data()


def test_failed_download_says_what_to_do(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.unlink()
    with pytest.raises(
        ConnectionError, match=r"must be on this machine or downloadable\. Received: .*\. Extract it from"
    ):
        ants_bees.load_data()


def test_insects_are_drawn_where_there_are_no_images(archive: Path) -> None:
    archive.unlink()
    with pytest.warns(
        UserWarning, match="DRAWN INSECTS instead of ants and bees: the accuracy says nothing about real"
    ):
        source, (x, y), (x_val, _) = ants_bees.load_or_draw(image_size=28, seed=3)
    assert source == "drawn insects"
    assert x.shape == (244, 32, 32, 3)
    assert x_val.shape == (153, 32, 32, 3)
    assert y.mean() == 0.5


def test_images_for_training_are_larger_than_for_validation(tmp_path: Path) -> None:
    source, (x, _), (x_val, _) = ants_bees.load_or_draw(draw_folder(tmp_path, dict.fromkeys(COUNTS, 1)), image_size=28)
    assert source == "the real images"
    assert x.shape == (2, 256, 256, 3)
    assert x_val.shape == (2, 32, 32, 3)


def test_archive_without_the_images_is_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("hymenoptera_data/readme.txt", "")
    publish(archive, monkeypatch)
    with pytest.raises(ValueError, match=r"The archive .* must hold the subfolders train/ants"):
        ants_bees.load_data()


def test_another_archive_than_the_published_one_is_refused(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("hymenoptera_data/readme.txt", "")
    message = (
        rf"SHA-256 of hymenoptera_data\.zip must be {ants_bees.SHA256}\. Received: .* for {tmp_path}.* Delete the file"
    )
    with pytest.raises(ValueError, match=message):
        ants_bees.load_data()
    assert [file.name for file in (tmp_path / "cache/datasets").iterdir()] == ["hymenoptera_data.zip"]


def test_archive_that_unpacks_to_too_much_is_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("hymenoptera_data/train/ants/zeros.jpg", bytes(ants_bees.MOST_UNPACKED))
    assert archive.stat().st_size < 10**6
    publish(archive, monkeypatch)
    message = r"must unpack to at most 100000000 bytes\. Received: \d+ in .*hymenoptera_data\.zip\. Delete the file"
    with pytest.raises(ValueError, match=message):
        ants_bees.load_data()
    assert [file.name for file in (tmp_path / "cache/datasets").iterdir()] == ["hymenoptera_data.zip"]


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.9])
def test_a_damaged_archive_is_named(archive: Path, kept: float, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    publish(archive, monkeypatch)
    with pytest.raises(
        ValueError, match=r"archive must be whole\. Received: .*hymenoptera_data\.zip: .* Delete the file"
    ):
        ants_bees.load_data()


def test_an_archive_whose_bytes_have_changed_is_named(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    archive.write_bytes(content)
    publish(archive, monkeypatch)
    with pytest.raises(ValueError, match=r"archive must be whole\. Received: .*hymenoptera_data\.zip: Bad CRC-32"):
        ants_bees.load_data()


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "line", "column", "bomb", "large"])
def test_a_bad_image_is_named(tmp_path: Path, kind: str) -> None:
    draw_folder(tmp_path, dict.fromkeys(COUNTS, 1))
    file = next((tmp_path / "val" / "bees").iterdir())
    if kind in ("truncated", "empty", "text"):
        whole = file.read_bytes()
        file.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"no image"}[kind])
    else:
        sides = {"line": (65000, 1), "column": (1, 65000), "bomb": (20000, 20000), "large": (7100, 7100)}[kind]
        file = file.with_suffix(".png")
        Image.new("1", sides).save(file)
    message = rf"must be whole, .* at most 100 times as long as wide\. Received: {file}: .*\. Remove it, or replace"
    with pytest.raises(ValueError, match=message):
        ants_bees.load_data(tmp_path, image_size=24)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_an_image_of_more_than_8_bits_is_refused(tmp_path: Path, dtype: str) -> None:
    """Pillow cuts its numbers off at 255: of most cameras' it makes white."""
    draw_folder(tmp_path, dict.fromkeys(COUNTS, 1))
    file = tmp_path / "val" / "bees" / "deep.tif"
    Image.fromarray(np.full((30, 30), 300, dtype)).save(file)
    with pytest.raises(ValueError, match=rf"with 8 bits a channel, .*Received: {file}: its pixels are of mode '(I|F)"):
        ants_bees.load_data(tmp_path, image_size=24)


def test_a_program_in_place_of_an_image_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript, for which Pillow would start Ghostscript."""
    draw_folder(tmp_path, dict.fromkeys(COUNTS, 1))
    file = tmp_path / "val" / "bees" / "program.jpg"
    Image.new("RGB", (30, 30)).save(file, format="EPS")
    started: list[Any] = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *options: started.append(options))
    with pytest.raises(ValueError, match=rf"of BMP, GIF, JPEG, .*Received: {file}: cannot identify image file"):
        ants_bees.load_data(tmp_path, image_size=24)
    assert started == []


def test_an_image_that_cannot_be_opened_is_its_own_error(tmp_path: Path) -> None:
    draw_folder(tmp_path, dict.fromkeys(COUNTS, 1))
    (tmp_path / "train/ants/folder.jpg").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.jpg"):
        ants_bees.load_data(tmp_path, image_size=24)


def test_folder_that_lacks_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_folder(tmp_path, {"train/ants": 1, "val/ants": 1})
    message = r"must hold the subfolders .* Received: .*, which lacks train/bees, val/bees\. Pass the folder"
    with pytest.raises(ValueError, match="`path` " + message):
        ants_bees.load_data(tmp_path)
    monkeypatch.setenv("ANTS_BEES_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=r"`\$ANTS_BEES_DIR` " + message):
        ants_bees.find()


def test_class_without_images(tmp_path: Path) -> None:
    draw_folder(tmp_path, {**dict.fromkeys(COUNTS, 1), "val/bees": 0})
    with pytest.raises(ValueError, match=r"at least one image\. Received: no image in .*bees\. Extract"):
        ants_bees.load_data(tmp_path)


def test_image_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"`image_size` must be a positive integer\. Received: image_size=0\. Pass"):
        ants_bees.load_data(image_size=0)


def test_missing_pillow_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_folder(tmp_path, dict.fromkeys(COUNTS, 1))
    for name in ("PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'Decoding images needs PIL: pip install "keras-sgdr\[study\]"'):
        ants_bees.load_data(tmp_path)
