"""`render` and `info`, from files to files."""

import errno
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from spatialavatar import files
from spatialavatar.avatar.file import save_avatar
from spatialavatar.cli.main import main
from spatialavatar.cli.render import parse_background, parse_camera, parse_frames
from spatialavatar.cli.run import BAD_INPUT, OK, STOPPED
from spatialavatar.drive import video
from spatialavatar.drive.motion_file import read_motion
from spatialavatar.errors import UserError
from spatialavatar.sequence.folder import write_sequence
from tests.drive.sources import live_link_table
from tests.synthetic import Subject, painted_avatar, subject


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=6, size=64, resolution=24)


@pytest.fixture
def folder(made: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with me.avatar and its me.tracked, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    save_avatar(replace(made.avatar, provenance={"consent": "yes"}), tmp_path / "me.avatar", preview_png=b"PNG")
    count = len(made.sequence)
    images = [made.sequence.image(index) for index in range(count)]
    mattes = [made.sequence.matte(index) for index in range(count)]
    write_sequence(made.sequence, tmp_path / "me.tracked", images, mattes)
    return tmp_path


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_turntable_becomes_a_video_and_a_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "me.avatar", "--drive", "turntable", "--frames", "8", "--size", "64"]) == OK
    frames = frames_of(folder / "me.render.mp4")
    assert len(frames) == 8 and frames[0].shape == (64, 64, 3)
    assert frames[0][0, 0].min() > 250, "white by default"
    shown = capsys.readouterr().out
    assert "Video:    me.render.mp4  (8 frames, rendered at" in shown and "Numbers:  me.render.mp4.report.json" in shown
    report = json.loads((folder / "me.render.mp4.report.json").read_text())
    assert report["command"] == "render" and report["frames"] == 8 and report["render_frames_per_second"] > 0
    assert report["options"]["drive"] == "turntable" and report["seconds"] > 0 and report["versions"]["torch"]


def test_one_frame_becomes_a_transparent_picture(folder: Path) -> None:
    arguments = ["render", "me.avatar", "-o", "me.png", "--background", "none", "--camera", "30,10", "--size", "64"]
    assert main(arguments) == OK
    picture = np.asarray(Image.open(folder / "me.png"))
    assert picture.shape == (64, 64, 4) and picture[0, 0, 3] == 0 and picture[..., 3].max() == 255


def test_the_drivers_own_camera_gives_back_its_frames(folder: Path, made: Subject) -> None:
    arguments = ["render", "me.avatar", "--drive", "me.tracked", "--camera", "driver", "--frames", "2:3"]
    assert main([*arguments, "-o", "me.png", "--size", "64", "--background", "black"]) == OK
    picture = np.asarray(Image.open(folder / "me.png")).astype(float)
    matte = made.sequence.matte(2)[..., None].numpy() / 255
    # Two roundings to 8 bits, of colour and of coverage.
    assert np.abs(picture - made.sequence.image(2).numpy() * matte).max() <= 2


def test_a_motion_can_be_kept_and_used_again(folder: Path) -> None:
    arguments = ["render", "me.avatar", "--drive", "me.tracked", "--size", "48"]
    assert main([*arguments, "-o", "a.mp4", "--save-motion", "him.motion.safetensors"]) == OK
    assert len(read_motion(folder / "him.motion.safetensors")) == 6
    assert main(["render", "me.avatar", "--drive", "him.motion.safetensors", "--size", "48", "-o", "b.mp4"]) == OK
    for first, second in zip(frames_of(folder / "a.mp4"), frames_of(folder / "b.mp4"), strict=True):
        assert np.array_equal(first, second)


def test_an_arkit_table_opens_the_mouth(folder: Path) -> None:
    live_link_table(folder / "take.csv", [{}, {"JawOpen": 1.0}])
    base = ["render", "me.avatar", "--drive", "take.csv", "--size", "64"]
    assert main([*base, "-o", "shut.png"]) == OK and main([*base, "-o", "open.png", "--frames", "1:2"]) == OK
    shut, wide = (np.asarray(Image.open(folder / name)).astype(int) for name in ("shut.png", "open.png"))
    changed = np.abs(shut - wide).max(-1) > 20
    assert changed[40:].sum() > 10 * max(1, changed[:20].sum()), "the chin moves, the forehead does not"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["you.avatar"], "you.avatar: there is no such file.\n  Did you mean me.avatar?"),
        (["me.avatar", "-o", "me.gif"], "ends in '.gif'; expected .mp4"),
        (["me.avatar", "-o", "nowhere/me.mp4"], "nowhere: the folder to write into does not exist"),
        (["me.avatar", "--background", "blurple"], "'blurple' is no colour"),
        (["me.avatar", "--background", "none"], "videos have no transparency"),
        (["me.avatar", "--camera", "left"], "--camera is 'left'; expected front, driver"),
        (["me.avatar", "--camera", "driver"], "--camera driver needs a driver with cameras"),
        (["me.avatar", "--size", "3"], "--size is 3; expected 16 to 4096"),
        (["me.avatar", "--frames", "a:b"], "--frames is 'a:b'; expected COUNT"),
        (["me.avatar", "--frames", "9999:"], "--frames 9999: leaves no frame of the 381"),
        (["me.avatar", "--drive", "you.tracked"], "you.tracked: there is no such file or folder"),
        (["me.avatar", "--frame-rate", "0"], "--frame-rate is 0.0"),
        pytest.param(
            ["me.avatar", "--device", "cuda"],
            "there is no NVIDIA GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU"),
        ),
    ],
)
def test_bad_input_is_one_message(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(entry.name for entry in folder.iterdir())
    assert main(["render", *arguments]) == BAD_INPUT
    captured = capsys.readouterr()
    assert message in captured.err, captured.err
    assert "Traceback" not in captured.err
    assert sorted(entry.name for entry in folder.iterdir()) == before, "nothing is left behind"


def test_a_renamed_pickle_is_not_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "evil.avatar").write_bytes(pickle.dumps({"weights": [1.0]}))
    assert main(["render", "evil.avatar", "-o", "out.mp4"]) == BAD_INPUT
    assert "was not opened" in capsys.readouterr().err


def test_a_truncated_avatar(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = (folder / "me.avatar").read_bytes()
    (folder / "me.avatar").write_bytes(content[:5000])
    assert main(["render", "me.avatar", "-o", "out.mp4"]) == BAD_INPUT
    assert "cut short: it has 5,000 bytes" in capsys.readouterr().err


def test_a_full_disk_at_the_end_of_a_video(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(entry.name for entry in folder.iterdir())
    monkeypatch.setattr(files.os, "replace", full)
    assert main(["render", "me.avatar", "--frames", "3", "--size", "48", "-o", "out.mp4"]) == BAD_INPUT
    assert "out.mp4: no disk space is left" in capsys.readouterr().err
    assert sorted(entry.name for entry in folder.iterdir()) == before


def test_ctrl_c_in_the_middle_of_a_video(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = 0
    whole = video.draw

    def stopping(*arguments: object) -> object:
        nonlocal drawn
        drawn += 1
        if drawn == 3:
            raise KeyboardInterrupt
        return whole(*arguments)  # type: ignore[arg-type]

    before = sorted(entry.name for entry in folder.iterdir())
    monkeypatch.setattr(video, "draw", stopping)
    assert main(["render", "me.avatar", "--frames", "9", "--size", "48", "-o", "out.mp4"]) == STOPPED
    assert "nothing half-written" in capsys.readouterr().err
    assert sorted(entry.name for entry in folder.iterdir()) == before


def test_info_of_every_kind_of_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "me.avatar", "-o", "preview.png"]) == OK
    shown = capsys.readouterr().out
    assert "open-head-1-" in shown and "consent" in shown and "52: browDownLeft" in shown
    assert (folder / "preview.png").read_bytes() == b"PNG"
    assert main(["info", "me.tracked"]) == OK
    assert "64 x 64" in capsys.readouterr().out
    main(["render", "me.avatar", "--drive", "me.tracked", "-o", "a.png", "--save-motion", "him.motion.safetensors"])
    assert main(["info", "him.motion.safetensors"]) == OK
    assert "me.tracked" in capsys.readouterr().out
    assert main(["info", "nothing.avatar"]) == BAD_INPUT
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe.avatar")  # nobody writes to it: opening it would wait for ever
        assert main(["info", "pipe.avatar"]) == BAD_INPUT
        os.unlink("pipe.avatar")


def test_backgrounds() -> None:
    assert parse_background("white") == (1, 1, 1) and parse_background("none") is None
    assert parse_background("#ff8000") == pytest.approx((1, 128 / 255, 0)) == parse_background("FF8000")
    assert parse_background("#f00") == (1, 0, 0)
    for text in ("#12", "red-ish", "", "#gggggg"):
        with pytest.raises(UserError, match="is no colour"):
            parse_background(text)


def test_cameras() -> None:
    assert parse_camera("front") == (0, 0, 1) and parse_camera("30,-10") == (30, -10, 1)
    assert parse_camera("30,-10,2.5") == (30, -10, 2.5) and parse_camera("driver") is None
    for text in ("30", "a,b", "0,90", "0,0,0", "nan,0", "1,2,3,4"):
        with pytest.raises(UserError, match="--camera is"):
            parse_camera(text)


def test_frame_ranges() -> None:
    assert parse_frames("") == (0, None, 1) and parse_frames("10") == (0, 10, 1)
    assert parse_frames("2:8:3") == (2, 8, 3) and parse_frames("5:") == (5, None, 1) and parse_frames(":7") == (0, 7, 1)
    for text in ("0", "-3", "5:5", "1:2:0", "1:2:3:4", "x"):
        with pytest.raises(UserError, match="--frames is"):
            parse_frames(text)


def test_the_picture_of_a_file_is_the_same_on_white(folder: Path) -> None:
    assert main(["render", "me.avatar", "-o", "me.png", "--size", "64", "--drive", "turntable"]) == OK
    avatar = painted_avatar(24)
    expected = avatar.render(camera=avatar.default_camera(64), background=torch.ones(3))[..., :3]
    picture = torch.from_numpy(np.array(Image.open(folder / "me.png"))).float() / 255
    # Half a step of 8 bits; the turntable's first frame is the avatar at rest up to float32.
    torch.testing.assert_close(picture, expected.clamp(0, 1), atol=0.003, rtol=0)
