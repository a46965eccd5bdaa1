"""What a file is by its content: a photo, a video, or something else that has a name and a way out.

Names lie: phones, browsers and messengers rename files without converting them. The first bytes do not.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from spatialavatar.errors import UserError
from spatialavatar.input_files import check_regular_file

Kind = Literal["photo", "video", "tracked folder", "folder", "other"]

SEQUENCE_FILE = "sequence.json"
"""What makes a folder a tracked one."""

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".3gp", ".wmv")
)

_HEAD = 4096
"""Bytes that are looked at: the longest mark is a transport stream's, which needs four packets of 192."""

_AS_JPEG = "Export it as JPEG or PNG and give that file."
_AS_JPEG_FROM_RAW = "Develop it: export it as JPEG, or as TIFF of 16 bits, from the camera's or a photo program."
HEIC_HINT = (
    "Export it as JPEG (an iPhone does so by itself with Settings > Camera > Formats > Most Compatible), "
    "or let it be read: pip install pillow-heif"
)


@dataclass(frozen=True)
class Media:
    """What a path leads to.

    Attributes:
        kind: What it can be used as; "other" cannot be used.
        name: Of the format, as people call it: "JPEG", "Matroska or WebM", "a text file".
        hint: What to do with it where it cannot be used, or is read only with a package that may be missing.
        animated: A photo format's file that holds several pictures in time, which is a video.
    """

    kind: Kind
    name: str
    hint: str | None = None
    animated: bool = False


# (first bytes, kind, name, hint); the first that fits decides.
_MARKS: tuple[tuple[bytes, Kind, str, str | None], ...] = (
    (b"\xff\xd8\xff", "photo", "JPEG", None),
    (b"qoif", "photo", "QOI", None),
    (b"8BPS", "photo", "Photoshop", None),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "photo", "JPEG 2000", None),
    (b"\xff\x4f\xff\x51", "photo", "JPEG 2000", None),
    (b"\xff\x0a", "other", "JPEG XL", _AS_JPEG),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "other", "JPEG XL", _AS_JPEG),
    (b"FUJIFILMCCD-RAW", "other", "a Fujifilm RAW photo", _AS_JPEG_FROM_RAW),
    (b"IIRO", "other", "an Olympus RAW photo", _AS_JPEG_FROM_RAW),
    (b"IIRS", "other", "an Olympus RAW photo", _AS_JPEG_FROM_RAW),
    (b"MMOR", "other", "an Olympus RAW photo", _AS_JPEG_FROM_RAW),
    (b"IIU\x00", "other", "a Panasonic RAW photo", _AS_JPEG_FROM_RAW),
    (b"FOVb", "other", "a Sigma RAW photo", _AS_JPEG_FROM_RAW),
    (b"\x76\x2f\x31\x01", "other", "OpenEXR", "Save it as PNG or TIFF of 16 bits, as it should look."),
    (b"#?RADIANCE", "other", "Radiance HDR", "Save it as PNG or TIFF of 16 bits, as it should look."),
    (b"#?RGBE", "other", "Radiance HDR", "Save it as PNG or TIFF of 16 bits, as it should look."),
    (b"%PDF", "other", "a PDF document", "Save the photo in it as JPEG and give that file."),
    (b"%!PS", "other", "a PostScript file", _AS_JPEG),
    (b"PK\x03\x04", "other", "a zip archive", "Unpack it and give what is inside."),
    (b"\x1f\x8b", "other", "a gzip archive", "Unpack it and give what is inside."),
    (b"\x1aE\xdf\xa3", "video", "Matroska or WebM", None),
    (b"\x00\x00\x01\xba", "video", "MPEG", None),
    (b"\x00\x00\x01\xb3", "video", "MPEG", None),
    (b"FLV", "video", "Flash video", None),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video", "Windows Media", None),
    (b"OggS", "video", "Ogg", None),
    (b"ID3", "other", "a sound file", None),
    (b"fLaC", "other", "a sound file", None),
    (b"\x06\x0e\x2b\x34", "video", "MXF", None),
    (b".RMF", "video", "RealMedia", None),
    (b"DKIF", "video", "IVF", None),
    (b"YUV4MPEG2", "video", "YUV4MPEG", None),
    (b"\x1f\x07\x00", "video", "DV", None),
    (b"\x00\x00\x00\x01\x67", "video", "H.264", None),
    (b"\x00\x00\x00\x01\x40", "video", "H.265", None),
)
_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis", b"avio"}
_QUICKTIME_BOXES = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof", b"styp", b"uuid"}


_SUFFIXES = {"HEIC": (".heic", ".heif", ".hif")}
_USUAL_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".heic",
        ".mp4",
        ".mov",
        ".mkv",
        ".webm",
        ".gif",
    }
)
"""Suffixes that promise a photo or a video; of files that are used nothing is said whatever they are called."""


SEQUENCE_FILE = "sequence.json"
"""What makes a folder a tracked one (docs/tracked_folder.md)."""


def is_tracked_folder(path: str | os.PathLike[str]) -> bool:
    """Whether the path looks like a tracked folder."""
    return (Path(path) / SEQUENCE_FILE).is_file()


def media_of(path: str | os.PathLike[str]) -> Media:
    """What the file or folder is, by its content.

    Raises:
        UserError: It is missing, may not be read, is empty, or is a device or a pipe.
    """
    place = Path(path)
    if place.is_dir():
        tracked = (place / SEQUENCE_FILE).is_file()
        return Media("tracked folder", "a tracked folder") if tracked else Media("folder", "a folder")
    if check_regular_file(place) == 0:
        raise UserError("this file is empty (0 bytes).", where=place, hint="Copy or record it again.")
    try:
        with place.open("rb") as stream:
            return media_of_stream(stream)
    except OSError as error:
        raise UserError(f"this file cannot be read ({error.strerror}).", where=place) from None


def is_photo(path: str | os.PathLike[str]) -> bool:
    """Whether this is a file that holds a photograph; False also where it is missing or empty."""
    return _kind(path) == "photo"


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether this is a file that holds a video, animated pictures among them; False where it is missing or empty."""
    return _kind(path) == "video"


def is_called_video(path: str | os.PathLike[str]) -> bool:
    """Whether this is a file that holds a video, or whose name says so: for lists that count what is damaged, too."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES or is_video(path)


def not_usable(path: str | os.PathLike[str], media: Media, expected: str) -> UserError:
    """The message for something that is not what was `expected`, such as "a photo or a video"."""
    what = f"this is {in_words(path, media)}, not {expected}: it cannot be read."
    return UserError(what, where=path, hint=media.hint or f"Give {expected}.")


def in_words(path: str | os.PathLike[str], media: Media) -> str:
    """What the file is, for messages, and that its name says something else where it does."""
    suffix = Path(path).suffix
    words = media.name
    if not words.startswith(("a ", "an ")):
        article = "an" if words[0] in "AEIOH" else "a"
        words = f"{article} {words} {media.kind if media.kind in ('photo', 'video') else 'file'}"
    misleads = suffix.lower() in _USUAL_SUFFIXES and suffix.lower() not in _SUFFIXES.get(media.name, ())
    return f"{words}, though its name ends in {suffix}" if misleads else words


def _kind(path: str | os.PathLike[str]) -> Kind:
    try:
        return media_of(path).kind
    except UserError:
        return "other"


def media_of_stream(stream: BinaryIO) -> Media:
    """What the bytes are, by those at the start; the position is not kept."""
    head = stream.read(_HEAD)
    for mark, kind, name, hint in _MARKS:
        if head.startswith(mark):
            return Media(kind, name, hint)
    for look in (_png, _bmp, _gif, _riff, _tiff, _iso, _netpbm, _transport_stream):
        found = look(head, stream)
        if found is not None:
            return found
    return _text_or_unknown(head)


def _png(head: bytes, stream: BinaryIO) -> Media | None:
    """An animated PNG has an acTL chunk before its first IDAT."""
    if not head.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    position = 8
    while True:
        stream.seek(position)
        chunk = stream.read(12)
        if len(chunk) < 12 or chunk[4:8] == b"IDAT":
            return Media("photo", "PNG")
        if chunk[4:8] == b"acTL" and int.from_bytes(chunk[8:12], "big") > 1:
            return Media("video", "animated PNG", animated=True)
        position += 12 + int.from_bytes(chunk[:4], "big")


def _bmp(head: bytes, _: BinaryIO) -> Media | None:
    """ "BM" begins words, too: the four reserved bytes are 0 and a header of a known size follows."""
    known = head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and head[14:18] in _BMP_HEADERS
    return Media("photo", "BMP") if known else None


def _gif(head: bytes, stream: BinaryIO) -> Media | None:
    """A GIF of more than one image is a video."""
    if head[:6] not in (b"GIF87a", b"GIF89a") or len(head) < 13:
        return None
    animated = _gif_images(stream, head[10]) > 1
    return Media("video", "animated GIF", animated=True) if animated else Media("photo", "GIF")


def _gif_images(stream: BinaryIO, flags: int) -> int:
    """Images of a GIF, counted to two: blocks are stepped over without decoding."""
    stream.seek(13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0))
    images = 0
    while images < 2:
        kind = stream.read(1)
        if kind == b"!":
            stream.read(1)
        elif kind == b",":
            images += 1
            flags = (stream.read(9) + b"\0" * 9)[8]
            stream.seek((3 << ((flags & 7) + 1) if flags & 0x80 else 0) + 1, os.SEEK_CUR)
        else:
            break
        while size := stream.read(1)[:1]:
            if size == b"\0":
                break
            stream.seek(size[0], os.SEEK_CUR)
    return images


def _riff(head: bytes, _: BinaryIO) -> Media | None:
    if head[:4] not in (b"RIFF", b"RIFX"):
        return None
    kind = head[8:12]
    if kind == b"WEBP":
        # The second bit of an extended file's flags says that it is animated.
        if head[12:16] == b"VP8X" and len(head) > 20 and head[20] & 0x02:
            return Media("video", "animated WebP", animated=True)
        return Media("photo", "WebP")
    if kind in (b"AVI ", b"AVIX"):
        return Media("video", "AVI")
    return Media("other", "a sound file" if kind == b"WAVE" else "a RIFF file")


def _tiff(head: bytes, stream: BinaryIO) -> Media | None:
    """TIFF, and cameras' RAW files, which are TIFFs whose first picture is a small preview or a sensor's mosaic."""
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    if head[8:10] == b"CR":
        return Media("other", "a Canon RAW photo", _AS_JPEG_FROM_RAW)
    tags = _first_directory(head, stream) if head[2:4] in (b"*\0", b"\0*") else {}
    if 50706 in tags:  # DNGVersion
        return Media("other", "a RAW photo (DNG)", _AS_JPEG_FROM_RAW)
    preview_before_others = tags.get(254) == 1 and 330 in tags  # NewSubfileType: reduced; SubIFDs
    if preview_before_others or tags.get(262) == 32803:  # PhotometricInterpretation: colour filter array
        return Media("other", "a camera's RAW photo", _AS_JPEG_FROM_RAW)
    return Media("photo", "TIFF")


def _first_directory(head: bytes, stream: BinaryIO) -> dict[int, int]:
    """Tags of a classic TIFF's first directory, with their values where those are short and single."""
    order = "<" if head[:2] == b"II" else ">"
    try:
        stream.seek(struct.unpack(order + "I", head[4:8])[0])
        (count,) = struct.unpack(order + "H", stream.read(2))
        entries = stream.read(12 * count)
        tags = {}
        for at in range(0, len(entries) - 11, 12):
            tag, kind, number = struct.unpack(order + "HHI", entries[at : at + 8])
            form = order + ("H2x" if kind == 3 else "I")
            tags[tag] = struct.unpack(form, entries[at + 8 : at + 12])[0] if number == 1 else -1
        return tags
    except (struct.error, OSError, OverflowError):
        return {}


def _iso(head: bytes, _: BinaryIO) -> Media | None:
    """Files of boxes: MP4 and QuickTime, HEIC and AVIF, Canon's newer RAW."""
    box = head[4:8]
    if box != b"ftyp":
        return Media("video", "QuickTime") if box in _QUICKTIME_BOXES else None
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    brands = {major} | {head[at : at + 4] for at in range(16, size - 3, 4)}
    if major == b"crx ":
        return Media("other", "a Canon RAW photo", _AS_JPEG_FROM_RAW)
    if major == b"avis":
        return Media("video", "animated AVIF", animated=True)
    if major in _AVIF_BRANDS or (major in _HEIC_BRANDS and brands & _AVIF_BRANDS):
        return Media("photo", "AVIF")
    if major in _HEIC_BRANDS:
        return Media("photo", "HEIC", HEIC_HINT)
    if major in (b"M4A ", b"M4B "):
        return Media("other", "a sound file")
    return Media("video", "QuickTime" if major == b"qt  " else "MP4")


def _netpbm(head: bytes, _: BinaryIO) -> Media | None:
    if head[:1] == b"P" and head[1:2] in tuple(b"%c" % c for c in b"1234567fF") and head[2:3] in (b"\n", b" ", b"\r"):
        return Media("photo", "PPM")
    return None


def _transport_stream(head: bytes, _: BinaryIO) -> Media | None:
    """MPEG transport streams: every packet of 188 bytes begins with 0x47; in .m2ts four bytes of time come before."""
    for offset, packet in ((0, 188), (4, 192)):
        starts = range(offset, len(head), packet)
        if len(starts) >= 4 and all(head[at] == 0x47 for at in starts):
            return Media("video", "MPEG transport stream")
    return None


def _text_or_unknown(head: bytes) -> Media:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"<svg", b"<?xml", b"<!DOCTYPE svg")) and b"<svg" in head:
        return Media("other", "an SVG drawing", _AS_JPEG)
    if start[:14].lower() == b"<!doctype html" or start[:5].lower() == b"<html":
        hint = "The download gave a page in place of the file: download it again."
        return Media("other", "a web page", hint)
    if b"\0" not in head and _is_utf8(head):
        return Media("other", "a text file")
    return Media("other", "a file of no kind that is known here, or damaged")


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and error.start > len(head) - 4
    return True
