"""Which files are opened as videos: by content, whatever their names; and nothing but the file itself."""

from __future__ import annotations

import os
import random
import socket
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, features

from spatialavatar.errors import UserError
from spatialavatar.sequence import video_file
from spatialavatar.sequence.media import is_video
from spatialavatar.sequence.video import VIDEO_SUFFIXES, opens_as_video, probe_video, read_video, write_video
from tests.sequence.recordings import counted, numbers, quadrants, write

CONTAINERS = [
    ("a.mp4", "libx264", "mp4"),
    ("a.mov", "libx264", "mov"),
    ("a.mkv", "libx264", "matroska"),
    ("a.webm", "libvpx", "webm"),
    ("a.avi", "mpeg4", "avi"),
    ("a.ts", "libx264", "mpegts"),
    ("a.m2ts", "mpeg2video", "mpegts"),
    ("a.mpg", "mpeg2video", "mpeg"),
    ("a.wmv", "wmv2", "asf"),
    ("a.flv", "flv", "flv"),
    ("a.ogv", "libvpx", "ogg"),
    ("a.3gp", "mpeg4", "3gp"),
    ("a.mxf", "mpeg2video", "mxf"),
    ("a.gif", "gif", "gif"),
    ("a.apng", "apng", "apng"),
]


def write_kind(path: Path, codec: str, container: str, count: int = 12) -> Path:
    pixels = {"gif": "rgb8", "apng": "rgb24"}.get(codec, "yuv420p")
    options = {} if codec in ("gif", "apng", "libvpx", "libx264") else {"qscale": "2"}
    images = [counted(k, 176, 144) for k in range(count)]
    return write(path, images, codec=codec, pixel_format=pixels, container_format=container, options=options)


@pytest.mark.parametrize(("name", "codec", "container"), CONTAINERS)
def test_containers_under_their_own_and_any_other_name(tmp_path: Path, name: str, codec: str, container: str) -> None:
    path = write_kind(tmp_path / name, codec, container)
    assert is_video(path) and path.suffix in VIDEO_SUFFIXES
    for other in (name, "no suffix", "b.jpg"):
        path = path.rename(tmp_path / other)
        assert opens_as_video(path)
        notes: list[str] = []
        frames = list(read_video(path, warn=notes.append))
        assert numbers(frames) == list(range(12)), other
        assert notes == []
        info = probe_video(path)
        assert info.frames == 12 and info.frame_rate == pytest.approx(25, rel=0.01)


def test_an_animated_webp(tmp_path: Path) -> None:
    pictures = [Image.fromarray(counted(k)) for k in range(6)]
    path = tmp_path / "a.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[40, 40, 40, 120, 40, 40], lossless=True)
    assert opens_as_video(path)
    info = probe_video(path)
    assert (info.width, info.height, info.frames, info.frame_rate) == (96, 64, 8, pytest.approx(25))
    assert numbers(read_video(path)) == [0, 1, 2, 3, 3, 3, 4, 5]
    assert numbers(read_video(path, start=0.1, every=2)) == [3, 4]
    path.write_bytes(path.read_bytes()[:-120])
    with pytest.raises(UserError, match="damaged"):  # libwebp reads whole files only.
        list(read_video(path))


@pytest.mark.skipif(not features.check("avif"), reason="this version of Pillow does not write AVIF")
def test_an_animated_avif_is_read_past_its_first_picture(tmp_path: Path) -> None:
    pictures = [Image.fromarray(counted(k)) for k in range(5)]
    path = tmp_path / "a.avif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40, quality=95)
    notes: list[str] = []
    assert numbers(read_video(path, warn=notes.append)) == [0, 1, 2, 3, 4]
    assert notes == [] and probe_video(path).frame_rate == pytest.approx(25)


def test_transparent_webp_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, 4:] = 0, 0, 200, 255
    pictures = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=40, lossless=True)
    image = next(iter(read_video(tmp_path / "a.webp"))).image
    assert image[2, 1].tolist() == [255, 255, 255] and image[2, 6].tolist() == [0, 0, 200]


def test_photographs_are_no_videos(tmp_path: Path) -> None:
    picture = Image.fromarray(quadrants())
    for name in ("a.jpg", "a.png", "a.webp", "a.gif", "a.tif", "a.bmp", "a.avif"):
        try:
            picture.save(tmp_path / name)
        except (KeyError, OSError, ValueError):
            continue  # This Pillow does not write it.
        assert not opens_as_video(tmp_path / name)
    picture.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[picture])
    assert not opens_as_video(tmp_path / "a.mpo")
    assert not opens_as_video((tmp_path / "a.mpo").rename(tmp_path / "b.mp4"))
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    with pytest.raises(UserError, match="photograph"):
        probe_video(tmp_path / "a.heic")


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile 'inside.mp4'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}\n#EXT-X-ENDLIST\n",
        "\ufeff#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\ninside.mp4\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "WEBVTT\n\n00:00.000 --> 00:10.000\ntext\n",
        "[Reference]\nRef1={url}\n",
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts", ""])
def test_lists_of_files_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "inside.mp4", [quadrants()] * 3)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        port = server.getsockname()[1]
        path = tmp_path / f"list{suffix}"
        path.write_text(text.format(url=f"http://127.0.0.1:{port}/a.ts", port=port), encoding="utf-8")
        with pytest.raises(UserError) as caught:
            list(read_video(path))
        assert "list" in str(caught.value) and caught.value.hint
        assert not opens_as_video(path)
        with pytest.raises(BlockingIOError):  # No one called.
            server.accept()


@pytest.mark.parametrize(
    "name",
    [
        "clip:1.mp4",
        "file:a.mp4",
        "http:a.mp4",
        "concat:a|b.mp4",
        "%03d.mp4",
        "frame%d.jpg",
        "a [1] (2) {3}.mp4",
        "-i.mp4",
        "pipe:0",
        "данные 视频 \U0001f600.mp4",
        "a'b\"c$d`e.mp4",
        "new\nline.mp4",
        "async:cache:a.mp4",
        "data:,x.mp4",
    ],
)
def test_names_mean_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if sys.platform == "win32" and set(name) & set(':|"\n'):
        pytest.skip("Windows has no such names")
    monkeypatch.chdir(tmp_path)
    if Path(name).suffix == ".mp4":
        assert write_video(name, [counted(k) for k in range(5)], 25.0) == 5
    else:
        write(Path(name), [counted(k) for k in range(5)], container_format="mp4")
    assert os.listdir() == [name]
    for path in (name, Path(name), tmp_path / name):
        assert numbers(read_video(path)) == list(range(5))
        assert probe_video(path).frames == 5 and opens_as_video(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path(os.devnull)):
        with pytest.raises(UserError):
            probe_video(path)
        assert not opens_as_video(path)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (65_535, 65_535), (40_000, 2_000)])
def test_frames_that_are_too_large_are_refused_before_they_are_allocated(
    tmp_path: Path, width: int, height: int
) -> None:
    path = write_kind(tmp_path / "a.gif", "gif", "gif", 3)
    content = path.read_bytes()
    path.write_bytes(content[:6] + width.to_bytes(2, "little") + height.to_bytes(2, "little") + content[10:])
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        list(read_video(path))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    # The header's size, where FFmpeg gives it, or what is allowed.
    assert f"{width:,} x {height:,} pixels" in str(caught.value) or "67,108,864 pixels" in str(caught.value)


def test_a_size_beyond_the_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", [quadrants()] * 2)
    monkeypatch.setattr(video_file, "MOST_PIXELS", 96 * 64 - 1)
    with pytest.raises(UserError, match="96 x 64 pixels"):
        probe_video(path)


def two_streams(path: Path, sizes: list[tuple[int, int]], codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for width, height in sizes:
            stream: Any = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for number in range(5):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(counted(number, stream.width, stream.height), format="rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return path


def test_of_several_videos_the_largest_is_read_and_that_is_said(tmp_path: Path) -> None:
    path = two_streams(tmp_path / "a.mkv", [(64, 48), (128, 96), (96, 64)])
    notes: list[str] = []
    frames = list(read_video(path, warn=notes.append))
    assert numbers(frames) == list(range(5)) and frames[0].image.shape == (96, 128, 3)
    assert len(notes) == 1 and "3 video streams" in notes[0] and "128 x 96" in notes[0]
    assert probe_video(path).width == 128


@pytest.mark.skipif(not hasattr(av.stream, "Disposition"), reason="this PyAV cannot mark a stream as cover art")
@pytest.mark.parametrize("with_video", [True, False])
def test_cover_art_is_not_the_video(tmp_path: Path, with_video: bool) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        cover: Any = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 256, 256, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        sound: Any = container.add_stream("aac", rate=44100)
        video: Any = container.add_stream("libx264", rate=25) if with_video else None
        if with_video:
            video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate, samples.pts = 44100, 0
        picture = av.VideoFrame.from_ndarray(quadrants(256, 256), "rgb24").reformat(format="yuvj420p")
        picture.pts = 0
        container.mux(cover.encode(picture))
        container.mux(cover.encode())
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
        for number in range(5 if with_video else 0):
            frame = av.VideoFrame.from_ndarray(counted(number), format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        if with_video:
            container.mux(video.encode())
    if with_video:
        notes: list[str] = []
        assert numbers(read_video(path, warn=notes.append)) == list(range(5)) and notes == []
        assert probe_video(path).width == 96
    else:
        assert not opens_as_video(path)
        with pytest.raises(UserError, match="cover art"):
            probe_video(path)


def test_a_sound_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UserError, match="no video"):
        probe_video(path)
    assert not opens_as_video(path)


def test_metadata_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "QQQQ"
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(quadrants(), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"\xe4\xf6\xfc\xff"))
    assert probe_video(path).width == 96


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    seeds = [write_kind(tmp_path / name, codec, kind, 4).read_bytes() for name, codec, kind in CONTAINERS]
    choose = random.Random(0)
    path = tmp_path / "mutated"
    for number in range(120):
        content = bytearray(seeds[number % len(seeds)])
        for _ in range(choose.choice((1, 3, 12))):
            place = choose.randrange(min(len(content), choose.choice((600, len(content)))))
            content[place] = choose.randrange(256)
        path.write_bytes(content[: choose.randrange(len(content))] if number % 5 == 4 else content)
        try:
            info = probe_video(path)
            for frame in read_video(path):
                assert frame.image.shape == (info.height, info.width, 3)
        except UserError as error:
            assert "mutated" in str(error)
