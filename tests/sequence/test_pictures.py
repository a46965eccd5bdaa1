"""The one reader: depths, colour spaces, orientations, damage, and sizes."""

from __future__ import annotations

import builtins
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from spatialavatar.errors import UserError
from spatialavatar.sequence import pictures
from spatialavatar.sequence.pictures import picture_size, read_matte, read_picture

HEIGHT, WIDTH = 40, 60


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """(40, 60, 3) smooth, without symmetry, black and white in it."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.stack([x * 4, y * 6, 255 - x * 2 - y], -1).astype(np.uint8)
    image[0, 0], image[-1, -1] = 0, 255
    return image


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    data = io.BytesIO()
    tifffile.imwrite(data, values, **options)
    return data.getvalue()


def png16(values: NDArray[np.uint16], *, before: bytes = b"") -> bytes:
    """A 16-bit PNG with `before` put before its pixels."""
    order = [2, 1, 0, 3][: values.shape[2]] if values.ndim == 3 and values.shape[2] > 2 else ...
    data = bytes(cv2.imencode(".png", values[..., order] if values.ndim == 3 else values)[1])
    at = data.index(b"IDAT") - 4
    return data[:at] + before + data[at:]


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def read(data: bytes) -> NDArray[np.uint8]:
    return read_picture(data, where="test").colours


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("kind", ["png grey", "png", "png alpha", "tiff grey", "tiff", "tiff alpha", "tiff planes"])
def test_ten_twelve_and_sixteen_bits_in_sixteen(picture: NDArray[np.uint8], bits: int, kind: str) -> None:
    top = 2**bits - 1
    deep = np.rint(picture / 255.0 * top).astype(np.uint16)
    alpha = np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)
    expected = picture
    if "grey" in kind:
        deep, expected = deep[..., 0], np.repeat(picture[..., :1], 3, 2)
    if "alpha" in kind:
        deep = np.concatenate([deep, alpha], 2)
    if kind.startswith("png"):
        data = png16(deep)
    elif kind == "tiff planes":
        data = tiff(np.moveaxis(deep, 2, 0), photometric="rgb", planarconfig="separate")
    else:
        extra = {"extrasamples": ["unassalpha"]} if "alpha" in kind else {}
        data = tiff(deep, photometric="minisblack" if "grey" in kind else "rgb", **extra)
    found = read_picture(data, where="test")
    assert np.abs(found.colours.astype(int) - expected).max() == 0
    assert found.alpha is None if "alpha" not in kind else (found.alpha == 255).all()
    assert found.size == (WIDTH, HEIGHT) == picture_size(data, where="test")


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_a_dark_picture_of_sixteen_bits_stays_dark(picture: NDArray[np.uint8], form: str) -> None:
    dark = (picture // 5).astype(np.uint16) * 257  # At most 20 % of white.
    assert np.array_equal(read(png16(dark) if form == "png" else tiff(dark, photometric="rgb")), picture // 5)
    darkest = (picture // 20).astype(np.uint16) * 257  # At most 5 %, less than 12 bits hold.
    assert np.array_equal(read(png16(darkest) if form == "png" else tiff(darkest, photometric="rgb")), picture // 20)


def test_what_files_say_of_their_bits(picture: NDArray[np.uint8]) -> None:
    dark = (picture[..., 0].astype(np.uint16) * 3) + 1  # At most 766: 10 bits, were nothing said.
    as_12, as_16 = np.rint(dark / 4095 * 255), np.rint(dark / 65535 * 255)
    assert np.array_equal(read(png16(dark, before=chunk(b"sBIT", b"\x0c")))[..., 0], as_12)
    assert np.array_equal(read(png16(dark, before=chunk(b"sBIT", b"\x10")))[..., 0], as_16)
    said = [(281, "H", 1, 4095, True)]  # MaxSampleValue
    assert np.array_equal(read(tiff(dark, photometric="minisblack", extratags=said))[..., 0], as_12)
    ome = '<?xml version="1.0"?><OME><Image><Pixels SignificantBits="12"/></Image></OME>'
    assert np.array_equal(read(tiff(dark, photometric="minisblack", description=ome))[..., 0], as_12)


def test_pgm_of_sixteen_bits(picture: NDArray[np.uint8]) -> None:
    grey = picture[..., 0]
    for top in (1023, 4095, 65535):
        values = np.rint(grey / 255.0 * top).astype(">u2")
        data = b"P5\n%d %d\n%d\n" % (WIDTH, HEIGHT, top) + values.tobytes()
        assert np.abs(read(data)[..., 0].astype(int) - grey).max() <= 1


@pytest.mark.parametrize("compression", ["lzw", "deflate", "packbits"])
def test_compressed_tiffs(picture: NDArray[np.uint8], compression: str, tmp_path: Path) -> None:
    """Those that tifffile leaves to a package that is not needed are read by FFmpeg or Pillow."""
    codes = {"lzw": 5, "deflate": 8, "packbits": 32773}
    file = str(tmp_path / "a.tif")
    cv2.imwrite(file, (picture.astype(np.uint16) * 257)[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, codes[compression]])
    assert np.array_equal(read_picture(file).colours, picture)
    Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(
        file,
        compression=f"tiff_{'adobe_' * (compression == 'deflate')}{compression}"
        if compression != "packbits"
        else "packbits",
    )
    assert np.array_equal(read_picture(file).colours[..., 0], picture[..., 0])


def test_floats_with_what_is_no_number(picture: NDArray[np.uint8]) -> None:
    values = (picture / 255.0).astype(np.float32)
    values[5, 5], values[6, 6], values[7, 7], values[8, 8], values[9, 9] = np.nan, np.inf, -np.inf, -3.0, 250.0
    for data in (tiff(values, photometric="rgb"), tiff(values.astype(np.float64), photometric="rgb")):
        found = read_picture(data, where="test")
        same = np.ones((HEIGHT, WIDTH), bool)
        same[range(5, 10), range(5, 10)] = False
        assert np.array_equal(found.colours[same], picture[same])
        black_or_white = [found.colours[k, k].tolist() for k in range(5, 10)]
        assert black_or_white == [[0] * 3, [255] * 3, [0] * 3, [0] * 3, [255] * 3]
        assert found.notes == ("9 of its 7,200 values are not finite numbers; they are shown black or white.",)
    grey = tiff(values[..., 0], photometric="minisblack")
    assert np.array_equal(read(grey)[same], np.repeat(picture[..., :1], 3, 2)[same])
    assert np.array_equal(read(tiff(picture.astype(np.float32), photometric="rgb")), picture)


def test_thirty_two_bit_integers(picture: NDArray[np.uint8]) -> None:
    grey = picture[..., 0]
    for dtype, factor in ((np.uint32, 2**24), (np.int32, 2**23), (np.uint32, 257), (np.uint32, 1)):
        data = tiff(grey.astype(dtype) * dtype(factor), photometric="minisblack")
        assert np.abs(read(data)[..., 0].astype(int) - grey).max() <= 1
    assert np.array_equal(read(saved(Image.fromarray(grey.astype(np.int32) * 257), "TIFF"))[..., 0], grey)


def test_inverted_inks_and_premultiplied_colours(picture: NDArray[np.uint8]) -> None:
    deep = picture.astype(np.uint16) * 257
    assert np.array_equal(read(tiff(65535 - deep[..., 0], photometric="miniswhite"))[..., 0], picture[..., 0])
    inks = np.concatenate([65535 - deep, np.zeros((HEIGHT, WIDTH, 1), np.uint16)], 2)
    assert np.array_equal(read(tiff(inks, photometric="separated")), picture)
    half = np.full((HEIGHT, WIDTH, 1), 32768, np.uint16)
    data = tiff(np.concatenate([deep // 2, half], 2), photometric="rgb", extrasamples=["assocalpha"])
    found = read_picture(data, where="test")
    assert found.alpha is not None and (found.alpha == 128).all()
    assert np.abs(found.colours.astype(int) - picture).max() <= 1


def test_cmyk_lab_and_one_bit(picture: NDArray[np.uint8]) -> None:
    image = Image.fromarray(picture)
    assert np.array_equal(read(saved(image.convert("CMYK"), "TIFF")), picture)
    srgb = ImageCms.createProfile("sRGB")
    lab = ImageCms.profileToProfile(image, srgb, ImageCms.createProfile("LAB"), outputMode="LAB")
    assert lab is not None
    assert np.abs(read(saved(lab, "TIFF")).astype(int) - picture).mean() < 3  # 8 bits of Lab: it is 1.4.
    bits = image.convert("1")
    for form in ("PNG", "TIFF"):
        assert np.array_equal(read(saved(bits, form))[..., 0], np.asarray(bits) * np.uint8(255))


def test_palette_with_transparency(picture: NDArray[np.uint8]) -> None:
    flat = Image.fromarray(picture // 64 * 64).quantize(256)
    data = saved(flat, transparency=int(np.asarray(flat)[20, 30]))
    found = read_picture(data, where="test")
    assert found.alpha is not None and found.alpha[20, 30] == 0 and (found.alpha == 255).any()
    keyed = saved(Image.fromarray(picture), transparency=tuple(int(v) for v in picture[20, 30]))
    found = read_picture(keyed, where="test")
    assert found.alpha is not None and found.alpha[20, 30] == 0 and found.alpha[3, 3] == 255
    assert (found.over((1, 2, 3))[20, 30] == (1, 2, 3)).all()


def xyz_profile(primaries: NDArray[np.float64]) -> bytes:
    """A matrix profile with sRGB's curve, nearly (gamma 2.2), and the given D50 primaries as columns."""

    def fixed(values: NDArray[np.float64]) -> bytes:
        return b"".join(struct.pack(">i", round(float(v) * 65536)) for v in values)

    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(np.array([0.9642, 1.0, 0.8249]))}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True):
        tags[name] = b"XYZ \0\0\0\0" + fixed(column)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        tags[name] = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s12x4s", size, b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + fixed(np.array([0.9642, 1.0, 0.8249]))
    return head.ljust(128, b"\0") + table + body


DISPLAY_P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])


def test_display_p3(picture: NDArray[np.uint8]) -> None:
    """Against the matrices themselves, where the colour lies within sRGB."""
    muted = picture // 4 + 90
    profile = xyz_profile(DISPLAY_P3)
    linear = (muted / 255.0) ** 2.2 @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.clip(linear, 0, 1) ** (1 / 2.4) - 0.055) * 255
    for data in (
        saved(Image.fromarray(muted), icc_profile=profile),
        tiff(muted.astype(np.uint16) * 257, photometric="rgb", iccprofile=profile),
    ):
        found = read(data).astype(float)
        assert np.abs(found - expected).max() <= 2  # LittleCMS rounds within; it is off by 1.0 here.
        assert np.abs(found - muted).max() > 8
        assert np.array_equal(read_picture(data, where="test", managed=False).colours, muted)


def test_a_broken_profile_is_said(picture: NDArray[np.uint8]) -> None:
    cmyk_claim = bytearray(xyz_profile(SRGB))
    cmyk_claim[16:20] = b"CMYK"
    for profile in (b"nonsense", xyz_profile(SRGB)[:140], bytes(cmyk_claim), b"\0" * 300):
        found = read_picture(saved(Image.fromarray(picture), icc_profile=profile), where="test")
        assert np.array_equal(found.colours, picture)
        assert len(found.notes) == 1 and "profile cannot be used" in found.notes[0]


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 3),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "deep PNG", "deep TIFF"])
def test_all_orientations(picture: NDArray[np.uint8], orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if form == "deep PNG":
        data = png16(picture.astype(np.uint16) * 257, before=chunk(b"eXIf", exif.tobytes()[6:]))
    elif form == "deep TIFF":
        tags = [(274, "H", 1, orientation, True)]
        data = tiff(picture.astype(np.uint16) * 257, photometric="rgb", extratags=tags)
    elif form == "TIFF":
        data = saved(Image.fromarray(picture), form, tiffinfo={274: orientation})
    else:
        options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
        data = saved(Image.fromarray(picture), form, exif=exif, **options)
    expected = TURNED[orientation](picture)
    found = read_picture(data, where="test")
    assert found.colours.shape == expected.shape and np.abs(found.colours.astype(int) - expected).max() <= 4  # JPEG
    assert found.size == (expected.shape[1], expected.shape[0]) == picture_size(data, where="test")
    assert np.abs(read_matte(data, where="test").astype(int) - expected[..., 0]).max() <= 4


def samsung_exif(orientation: int) -> bytes:
    """EXIF with a signed rational of -2/0, as some Samsung phones wrote: it reads, but cannot be written again."""
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", 2)
    head += struct.pack("<HHII", 0x0112, 3, 1, orientation) + struct.pack("<HHII", 0x8769, 4, 1, 38) + b"\0" * 4
    inner = struct.pack("<H", 1) + struct.pack("<HHII", 0x9204, 10, 1, 56) + b"\0" * 4
    return b"Exif\0\0" + head + inner + struct.pack("<iI", -2, 0)


def test_broken_exif_does_not_prevent_reading(picture: NDArray[np.uint8]) -> None:
    image = Image.fromarray(picture)
    data = saved(image, "JPEG", quality=100, subsampling=0, exif=samsung_exif(6))
    assert np.abs(read(data).astype(int) - np.rot90(picture, 3)).max() <= 4
    generator = np.random.default_rng(0)
    good = samsung_exif(1)
    for _ in range(200):
        bad = bytearray(good)
        for at in generator.integers(6, len(bad), 4):
            bad[at] = generator.integers(256)
        data = saved(image, "JPEG", exif=bytes(bad[: generator.integers(8, len(bad) + 1)]))
        assert sorted(read(data).shape) == [3, HEIGHT, WIDTH]


def test_an_orientation_that_does_not_exist(picture: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 11
    assert np.array_equal(read(saved(Image.fromarray(picture), exif=exif)), picture)


def test_several_pages_and_other_eyes(picture: NDArray[np.uint8]) -> None:
    first, second = Image.fromarray(picture), Image.fromarray(picture[::-1].copy())
    pages = saved(first, "TIFF", save_all=True, append_images=[second])
    found = read_picture(pages, where="test")
    assert np.array_equal(found.colours, picture) and found.notes == ("it holds 2 pictures; the first is read.",)
    deep = tiff(np.stack([picture, picture[::-1]]).astype(np.uint16) * 257, photometric="rgb")
    found = read_picture(deep, where="test")
    assert np.array_equal(found.colours, picture) and found.notes == ("it holds 2 pictures; the first is read.",)
    stereo = read_picture(saved(first, "MPO", save_all=True, append_images=[second], quality=100), where="test")
    assert np.abs(stereo.colours.astype(int) - picture).mean() < 4 and stereo.notes == ()


def test_heic_is_named_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return importing(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "IMG_1.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100)
    with pytest.raises(UserError, match=r"HEIC photo, though its name ends in \.jpg") as caught:
        read_picture(tmp_path / "IMG_1.jpg")
    assert "pillow-heif" in str(caught.value) and "JPEG" in str(caught.value)


def test_what_is_no_picture(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.jpg", b"", "empty"),
        ("b.jpg", b"hello", "text file"),
        ("c.png", b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 30, "JPEG XL"),
        ("d.png", b"\x1aE\xdf\xa3" + b"\0" * 30, "Matroska"),
    ):
        (tmp_path / name).write_bytes(content)
        for reader in (read_picture, read_matte, picture_size):
            with pytest.raises(UserError, match=message) as caught:
                reader(tmp_path / name)
            assert name in str(caught.value)
    with pytest.raises(UserError, match="missing"):
        read_picture(tmp_path / "none.png")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "deep PNG", "deep TIFF", "WEBP"])
def test_a_damaged_picture_is_one_sentence(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    deep = noise.astype(np.uint16) * 257
    data = {"deep PNG": lambda: png16(deep), "deep TIFF": lambda: tiff(deep, photometric="rgb")}.get(
        form, lambda: saved(Image.fromarray(noise), form)
    )()
    for part in (0.9, 0.5, 0.1):
        with pytest.raises(UserError, match=r"damaged|cannot read") as caught:
            read_picture(data[: int(len(data) * part)], where="cut")
        assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "deep PNG", "deep TIFF", "WEBP", "PPM"])
def test_noise_in_files_ends_in_a_picture_or_a_sentence(form: str, picture: NDArray[np.uint8]) -> None:
    deep = picture.astype(np.uint16) * 257
    data = {"deep PNG": lambda: png16(deep), "deep TIFF": lambda: tiff(deep, photometric="rgb")}.get(
        form, lambda: saved(Image.fromarray(picture), form)
    )()
    generator = np.random.default_rng(1)
    for _ in range(60):
        bad = bytearray(data)
        for at in generator.integers(0, min(len(bad), 300), 3):
            bad[at] = generator.integers(256)
        for reader in (read_picture, read_matte):
            try:
                found = reader(bytes(bad), where="noise")
            except UserError:
                continue
            assert (found if isinstance(found, np.ndarray) else found.colours).dtype == np.uint8


def header_only(width: int, height: int, depth: int = 8) -> bytes:
    """A PNG that claims a size and holds almost nothing."""
    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def test_decompression_bombs_are_refused_before_they_are_decoded(picture: NDArray[np.uint8]) -> None:
    for data, limit in (
        (header_only(13_000, 13_600), "134 million"),  # 177 megapixels
        (header_only(60_000, 60_000), "134 million"),
        (header_only(9_000, 9_000, depth=16), "67 million"),
    ):
        with pytest.raises(UserError, match=f"too large.*{limit}") as caught:
            read_picture(data, where="bomb.png", most_pixels=1 << 24)
        assert "Scale it down" in str(caught.value)
    jpeg = bytearray(saved(Image.fromarray(picture), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 13_000, 13_600)
    with pytest.raises(UserError, match=r"too large \(13,600 x 13,000\).*134 million"):
        read_picture(bytes(jpeg), where="bomb.jpg")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(UserError, match=r"too large.*268 million"):
        read_picture(bytes(jpeg), where="bomb.jpg", most_pixels=1 << 24)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "deep PNG"])
def test_a_large_picture_is_reduced(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[0:600, 0:800]
    large = np.stack([x / 800 * 255, y / 600 * 255, 128 + 60 * np.sin(x / 90)], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    if form == "deep PNG":
        data = png16(large.astype(np.uint16) * 257, before=chunk(b"eXIf", exif.tobytes()[6:]))
    else:
        data = saved(Image.fromarray(large), form, exif=exif, **({"quality": 95} if form == "JPEG" else {}))
    found = read_picture(data, where="test", most_pixels=200 * 150)
    assert found.colours.shape == (200, 150, 3) and found.size == (600, 800)
    small = np.asarray(Image.fromarray(np.rot90(large, 3)).resize((150, 200), Image.Resampling.BOX))
    assert np.abs(found.colours.astype(int) - small).max() <= 6  # The edges, where the two filters differ.
    whole = read_picture(data, where="test", most_pixels=800 * 600)
    assert whole.colours.shape == (800, 600, 3)


def test_a_jpeg_is_not_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("RGB", (1600, 1200), (90, 120, 30)), "JPEG")
    drafted = []
    load = pictures.JpegImagePlugin.JpegImageFile.load

    def spy(image: Any) -> Any:
        drafted.append(image.size)
        return load(image)

    monkeypatch.setattr(pictures.JpegImagePlugin.JpegImageFile, "load", spy)
    read_picture(data, where="test", most_pixels=400 * 300)
    assert drafted[-1] == (400, 300)


@pytest.mark.parametrize("full", [1, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "red of RGB"])
def test_mattes_of_every_depth(full: int, form: str) -> None:
    opacity = np.zeros((HEIGHT, WIDTH))
    opacity[10:30, 10:50] = 1.0
    opacity[:, 8:10] = 0.5 if full > 1 else 0.0
    values = np.rint(opacity * full).astype(np.uint16 if full > 255 else np.uint8)
    expected = np.rint(np.rint(opacity * full) / full * 255)
    if form == "red of RGB":
        values = np.repeat(values[..., None], 3, 2)
    data = tiff(values, photometric="minisblack") if form == "TIFF" else png16(values)
    assert np.array_equal(read_matte(data, where="test"), expected)


def test_mattes_in_alpha_and_as_floats(picture: NDArray[np.uint8]) -> None:
    opacity = picture[..., 0]
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for colour in (white, np.zeros_like(white), picture // 255 + 254):
        data = saved(Image.fromarray(np.concatenate([colour, opacity[..., None]], 2)))
        assert np.abs(read_matte(data, where="test").astype(int) - opacity).max() <= 1
    floats = tiff((opacity / 255).astype(np.float32), photometric="minisblack")
    assert np.array_equal(read_matte(floats, where="test"), opacity)
    bits = Image.fromarray(opacity > 100)
    assert np.array_equal(read_matte(saved(bits), where="test"), np.where(opacity > 100, 255, 0))
    palette = Image.fromarray(np.where(opacity > 100, 255, 0).astype(np.uint8)).convert("P")
    assert np.array_equal(read_matte(saved(palette), where="test"), np.where(opacity > 100, 255, 0))


def test_mattes_of_sixteen_bits_wherever_mattes_are_read(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    from spatialavatar.evaluate.pictures import FolderPictures
    from spatialavatar.sequence.readers.base import FramePaths, PathFrames
    from spatialavatar.sequence.sequence import FolderFrames

    opacity = picture[..., 0]
    for bits in (12, 16):
        for name in ("images", "mattes", "given"):
            (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "images" / "0.png")
        (tmp_path / "mattes" / "0.png").write_bytes(png16(np.rint(opacity / 255.0 * (2**bits - 1)).astype(np.uint16)))
        assert np.array_equal(FolderFrames(tmp_path).matte("0"), opacity)
        paths = FramePaths(tmp_path / "images" / "0.png", tmp_path / "mattes" / "0.png")
        assert np.array_equal(PathFrames({"0": paths}).matte("0"), opacity)
        pair = FolderPictures(tmp_path / "images", tmp_path / "images", tmp_path / "mattes").pair(0)
        assert pair.matte is not None and np.array_equal(pair.matte, opacity)
