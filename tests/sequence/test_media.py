"""What a file is, by its content, whatever its name ends in."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.sequence.media import in_words, is_photo, is_video, media_of, not_usable
from spatialavatar.sequence.video import write_video


def gradient(size: int = 24) -> Image.Image:
    y, x = np.mgrid[0:size, 0:size]
    return Image.fromarray(np.stack([x * 9, y * 9, (x + y) * 4], -1).astype(np.uint8))


def saved(form: str, **options: object) -> bytes:
    data = io.BytesIO()
    gradient().save(data, form, **options)
    return data.getvalue()


def frames(form: str, count: int) -> bytes:
    images = [Image.new("RGB", (16, 16), (40 * k, 10, 200)) for k in range(count)]
    data = io.BytesIO()
    images[0].save(data, form, save_all=True, append_images=images[1:], duration=40)
    return data.getvalue()


@pytest.mark.parametrize(
    ("form", "name"),
    [
        *(("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WebP"), ("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF")),
        *(("PPM", "PPM"), ("JPEG2000", "JPEG 2000")),
    ],
)
def test_photos_by_any_name(tmp_path: Path, form: str, name: str) -> None:
    for file in ("a.jfif", "a.JPG", "a.mp4", "a", "a.txt"):
        (tmp_path / file).write_bytes(saved(form))
        assert media_of(tmp_path / file).name == name
        assert is_photo(tmp_path / file) and not is_video(tmp_path / file)


def test_avif(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B")
    assert media_of(tmp_path / "a.jpg").name == "AVIF"
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf")
    assert media_of(tmp_path / "a.jpg").name == "AVIF"


@pytest.mark.parametrize("form", ["WEBP", "GIF", "PNG"])
def test_more_than_one_picture_in_time_is_a_video(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.jpg").write_bytes(frames(form, 5))
    found = media_of(tmp_path / "a.jpg")
    assert found.kind == "video" and found.animated and is_video(tmp_path / "a.jpg")
    (tmp_path / "one.jpg").write_bytes(frames(form, 1))
    assert media_of(tmp_path / "one.jpg").kind == "photo"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_videos_by_any_name(tmp_path: Path, suffix: str) -> None:
    write_video(tmp_path / f"v{suffix}", [np.zeros((32, 32, 3), np.uint8)] * 3, 25.0)
    (tmp_path / "photo.jpg").write_bytes((tmp_path / f"v{suffix}").read_bytes())
    assert is_video(tmp_path / "photo.jpg") and is_video(tmp_path / f"v{suffix}")


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\x10\0\0\0AVI LIST",
        b"FLV\x01\x05\0\0\0\x09",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
        b"\x00\x00\x01\xba\x44\0\x04",
        (b"\x47" + b"\xff" * 187) * 6,
        (b"\0\0\0\0\x47" + b"\xff" * 187) * 6,
        b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat",
    ],
)
def test_video_containers(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    assert media_of(tmp_path / "a.bin").kind == "video"


def tiff(*entries: tuple[int, int, int, int], mark: bytes = b"") -> bytes:
    """A little TIFF's header and first directory."""
    start = 8 + len(mark)
    packed = b"".join(struct.pack("<HHI", tag, kind, count) + struct.pack("<I", v) for tag, kind, count, v in entries)
    return b"II*\0" + struct.pack("<I", start) + mark + struct.pack("<H", len(entries)) + packed + b"\0" * 4


@pytest.mark.parametrize(
    ("content", "words", "hint"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "JPEG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 20, "JPEG XL", "JPEG"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL", "JPEG"),
        (b"%PDF-1.7\n%\xe2", "PDF", "JPEG"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG", "JPEG"),
        (b"<!DOCTYPE html><html>not found</html>", "web page", "download it again"),
        (b"hello there", "text file", "photo"),
        ("schöner Text".encode(), "text file", "photo"),
        (b"PK\x03\x04" + b"\0" * 30, "zip archive", "Unpack"),
        (tiff((50706, 1, 4, 0x00000401)), "RAW", "Develop"),
        (tiff((254, 4, 1, 1), (330, 4, 2, 100)), "RAW", "Develop"),
        (tiff((262, 3, 1, 32803)), "RAW", "Develop"),
        (tiff((256, 3, 1, 4), mark=b"CR\2\0\0\0\0\0"), "Canon RAW", "Develop"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "Canon RAW", "Develop"),
        (b"FUJIFILMCCD-RAW 0201", "Fujifilm RAW", "Develop"),
        (b"\x76\x2f\x31\x01\x02\0\0\0", "OpenEXR", "16 bits"),
        (b"ID3\x04\0\0", "sound file", "photo"),
        (bytes(range(128, 200)), "no kind that is known", "photo"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_to_do(tmp_path: Path, content: bytes, words: str, hint: str) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    media = media_of(file)
    assert words in in_words(file, media) and "though its name ends in .jpg" in in_words(file, media)
    error = not_usable(file, media, "a photo")
    assert hint in str(error) and "a.jpg" in str(error)


def test_an_ordinary_tiff_is_no_raw(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff((254, 4, 1, 0), (262, 3, 1, 2), (330, 4, 1, 8)))
    assert media_of(tmp_path / "a.tif") == media_of(tmp_path / "a.tif")
    assert media_of(tmp_path / "a.tif").name == "TIFF"


def test_folders_and_what_is_not_there(tmp_path: Path) -> None:
    assert media_of(tmp_path).kind == "folder"
    (tmp_path / "sequence.json").write_text("{}")
    assert media_of(tmp_path).kind == "tracked folder"
    with pytest.raises(UserError, match="missing"):
        media_of(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(UserError, match="empty"):
        media_of(tmp_path / "empty")
    assert not is_photo(tmp_path / "empty") and not is_video(tmp_path / "none") and not is_photo(tmp_path)


def test_any_bytes_are_looked_at_without_a_traceback(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    starts = [saved("GIF")[:40], saved("PNG")[:60], frames("PNG", 3)[:90], tiff((254, 4, 1, 1)), b"RIFF", b"P6\n", b""]
    file = tmp_path / "a"
    for k in range(300):
        start = bytearray(starts[k % len(starts)])
        for _ in range(k % 4):
            if start:
                start[generator.integers(len(start))] = generator.integers(256)
        file.write_bytes(bytes(start) + generator.bytes(int(generator.integers(1, 400))))
        assert media_of(file).name
