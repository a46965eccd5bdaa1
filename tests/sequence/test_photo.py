"""Photographs of every kind people have."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from spatialavatar.errors import UserError
from spatialavatar.sequence.photo import read_photo


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """(40, 60, 3) smooth and without symmetry."""
    y, x = np.mgrid[0:40, 0:60]
    return np.stack([x * 4, y * 6, 255 - x * 2 - y], -1).astype(np.uint8)


def test_plain(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(read_photo(tmp_path / "a.png"), picture)


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_exif_rotation(tmp_path: Path, picture: NDArray[np.uint8], orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_photo(tmp_path / "a.png"), np.rot90(picture, turns))


def test_grey(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    Image.fromarray(picture[..., 0]).save(tmp_path / "a.png")
    assert np.array_equal(read_photo(tmp_path / "a.png"), np.repeat(picture[..., :1], 3, -1))


def test_sixteen_bit_grey_is_scaled(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert np.array_equal(read_photo(tmp_path / "a.png"), np.repeat(picture[..., :1], 3, -1))


def test_alpha_is_laid_over_white(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    alpha = np.full((40, 60, 1), 255, np.uint8)
    alpha[:, :30] = 0
    Image.fromarray(np.concatenate([picture, alpha], -1)).save(tmp_path / "a.png")
    read = read_photo(tmp_path / "a.png")
    assert (read[:, :30] == 255).all()
    assert np.array_equal(read[:, 30:], picture[:, 30:])


def test_palette_and_grey_with_alpha(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    Image.fromarray(picture).quantize(200).save(tmp_path / "p.png")
    assert np.abs(read_photo(tmp_path / "p.png").astype(int) - picture).mean() < 6  # 200 colours for 2,400.
    Image.fromarray(picture).convert("LA").save(tmp_path / "la.png")
    assert read_photo(tmp_path / "la.png").shape == (40, 60, 3)


def test_a_colour_profile_is_converted(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture).save(tmp_path / "same.png", icc_profile=profile)
    assert np.abs(read_photo(tmp_path / "same.png").astype(int) - picture).max() <= 1
    lab = io.BytesIO()
    Image.fromarray(picture).save(lab, "PNG", icc_profile=b"nonsense")
    (tmp_path / "broken.png").write_bytes(lab.getvalue())
    assert np.array_equal(read_photo(tmp_path / "broken.png"), picture)


def test_a_mask_is_refused_and_says_why(tmp_path: Path) -> None:
    mask = np.zeros((200, 200), np.uint8)
    mask[50:150, 60:140] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match="looks like a mask"):
        read_photo(tmp_path / "mask.png")
    assert read_photo(tmp_path / "mask.png", refuse_masks=False).shape == (200, 200, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"hello there, no image", "not an image"),
        ("phone.heic", b"\x00\x00\x00\x18ftypheic", "JPEG"),
    ],
)
def test_what_is_no_image(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_photo(tmp_path / name)
    assert name in str(caught.value)


def test_a_truncated_photo(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:1500])
    with pytest.raises(UserError, match="damaged"):
        read_photo(tmp_path / "cut.jpg")


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(UserError, match="folder"):
        read_photo(tmp_path)
