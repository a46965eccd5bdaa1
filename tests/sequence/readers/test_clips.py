"""Lists of clips: the right frames and the right part of the picture are cut; what is not there is named."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.sequence.readers import clips
from spatialavatar.sequence.video import read_video, write_video

WIDTH, HEIGHT, RATE = 160, 96, 10


def source(path: Path, seconds: int = 4) -> Path:
    """A video whose frames are plain greys that count up, with a white square at x 96..128, y 32..64."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = []
    for number in range(seconds * RATE):
        frame = np.full((HEIGHT, WIDTH, 3), 2 * number, np.uint8)
        frame[32:64, 96:128] = 255
        frames.append(frame)
    write_video(path, frames, RATE, quality=0)
    return path


def numbers(path: Path) -> list[int]:
    """Which frames of the source these are, by a corner's grey."""
    return [round(int(frame.image[0, 0, 0]) / 2) for frame in read_video(path)]


def entry(video: str, start: float, end: float, box: tuple[float, float, float, float]) -> dict:
    top, bottom, left, right = box
    return {
        "ytb_id": video,
        "duration": {"start_sec": start, "end_sec": end},
        "bbox": {"top": top, "bottom": bottom, "left": left, "right": right},
        "attributes": {},
    }


def test_celebv_hq(tmp_path: Path) -> None:
    source(tmp_path / "raw" / "abc.mp4")
    (tmp_path / "raw" / "half.mp4").write_bytes(b"half")
    # The white square, whose edges the set's 2 % move by 3.2 and 1.92 pixels, made square about its middle.
    square = (32 / HEIGHT, 64 / HEIGHT, 96 / WIDTH, 128 / WIDTH)
    listed = {
        "one": entry("abc", 1.0, 2.0, square),
        "gone": entry("xyz", 0, 1, square),
        "damaged": entry("half", 0, 1, square),
        "backwards": entry("abc", 2, 1, square),
        "bare": {"ytb_id": "abc"},
        "../up": entry("abc", 0, 1, square),
        "up": entry("../raw/abc", 0, 1, square),
    }
    (tmp_path / clips.CELEBV_FILE).write_text(json.dumps({"meta_info": {}, "clips": listed}))
    found = clips.celebv_hq(tmp_path)
    (clip,) = found.clips
    assert clip.box is not None
    left, top, width, height = clip.box
    assert width == height == 36 and left == 94 and top == 30
    assert clips.cut(clip, tmp_path / "one.mp4") == RATE
    frames = list(read_video(tmp_path / "one.mp4"))
    assert numbers(tmp_path / "one.mp4") == pytest.approx(list(range(10, 20)), abs=1)  # greys go through H.264
    assert frames[0].image.shape == (36, 36, 3) and frames[0].image[3:33, 3:33].min() > 240
    reasons = {item.where: item.why for item in found.skipped}
    assert reasons["gone"] == "the video xyz is not there"
    assert "half.mp4 cannot be used" in reasons["damaged"]
    assert "cannot be that of a file" in reasons["../up"] and reasons["up"] == reasons["../up"]
    assert "make no sense" in reasons["backwards"] and "lacks" in reasons["bare"]


def test_a_clip_late_in_a_long_video_has_the_frames_of_its_times(tmp_path: Path) -> None:
    # Greys that count up through two minutes, with key frames that a reader may jump to.
    with av.open(str(tmp_path / "long.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.options = {"crf": "0", "g": "35", "bf": "2"}
        for number in range(600):
            image = np.full((32, 32, 3), 20 + number % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    every = [int(frame.image[0, 0, 0]) for frame in read_video(tmp_path / "long.mp4")]
    for start, end in ((0.0, 1.0), (3.0, 4.0), (7.0, 9.0), (30.1, 31.3), (119.0, 130.0)):
        found = clips.cut(clips.ClipSpec("x", tmp_path / "long.mp4", start, end), tmp_path / "x.mp4")
        first = round(np.ceil(start * 5))
        assert found == min(round(np.ceil(end * 5)), 600) - first
        expected = every[first : first + found]
        got = [int(frame.image[0, 0, 0]) for frame in read_video(tmp_path / "x.mp4")]
        assert got == pytest.approx(expected, abs=2)  # greys go through H.264 once more
    with pytest.raises(UserError, match="starts at 200 s, after the end"):
        clips.cut(clips.ClipSpec("x", tmp_path / "long.mp4", 200.0, 201.0), tmp_path / "y.mp4")


def test_hdtf(tmp_path: Path) -> None:
    source(tmp_path / "videos" / "Radio11.mp4")
    lists = tmp_path / "HDTF_dataset"
    lists.mkdir()
    (lists / "RD_annotion_time.txt").write_text("Radio11.mp4 00:00-00:01 00:02-00:03\nRadio12.mp4 00:01-00:02\n")
    (lists / "RD_crop_wh.txt").write_text(
        "Radio11_0.mp4 96 32 32 32\nRadio11_1.mp4 90 64 20 64\nRadio12_0.mp4 0 9 0 9\n"
    )
    found = clips.hdtf(tmp_path)
    assert [clip.name for clip in found.clips] == ["Radio11_0", "Radio11_1"]
    assert [item.where for item in found.skipped] == ["Radio12_0"]
    (second,) = clips.hdtf(tmp_path, ["Radio11_1"]).clips
    assert clips.cut(second, tmp_path / "cut.mp4") == RATE
    frames = list(read_video(tmp_path / "cut.mp4"))
    assert frames[0].image.shape == (64, 64, 3) and frames[0].image[16:40, 10:34].min() > 240
    assert numbers(tmp_path / "cut.mp4") == pytest.approx(list(range(20, 30)), abs=1)
    with pytest.raises(UserError, match="no list of HDTF has the clip 'Radio99_0'"):
        clips.hdtf(tmp_path, ["Radio99_0"])
    (lists / "RD_crop_wh.txt").unlink()
    assert {item.why for item in clips.hdtf(tmp_path, ["Radio11_0"]).skipped} == {"no *_crop_wh.txt has its box"}


def test_vfhq(tmp_path: Path) -> None:
    folder = tmp_path / "Interval1_512x512" / "Clip+abc+P0"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (32, 32), (50 * number,) * 3).save(folder / f"{number:08d}.png")
    whole = (folder / "00000002.png").read_bytes()
    (folder / "00000002.png").write_bytes(whole[:-20])
    source(tmp_path / "other.mp4", 1)
    found = clips.vfhq(tmp_path)
    assert {clip.name for clip in found.clips} == {"Clip+abc+P0", "other"}
    assert [(item.where, item.why) for item in found.skipped] == [("Clip+abc+P0/00000002", "its picture is cut short")]
    clip = next(clip for clip in found.clips if clip.source.is_dir())
    assert clips.cut(clip, tmp_path / "cut.mp4") == 3
    assert [round(int(f.image[9, 9, 0]) / 50) for f in read_video(tmp_path / "cut.mp4")] == [0, 1, 3]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this file is missing"):
        clips.celebv_hq(tmp_path)
    with pytest.raises(UserError, match="annotion_time"):
        clips.hdtf(tmp_path)
    with pytest.raises(UserError, match="neither a folder of frames nor a video"):
        clips.vfhq(tmp_path)
    late = clips.ClipSpec("late", source(tmp_path / "v.mp4", 1), 5.0, 6.0)
    with pytest.raises(UserError, match="starts at 5 s, after the end"):
        clips.cut(late, tmp_path / "late.mp4")
    assert not (tmp_path / "late.mp4").exists()
