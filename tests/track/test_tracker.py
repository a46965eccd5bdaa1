"""The tracker from end to end, on the astronaut, and on everything that is not a usable face."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.head import load_open_head
from spatialavatar.sequence import read_sequence, validate_sequence, write_video
from spatialavatar.track import track
from spatialavatar.track.overlay import draw_mesh
from tests.track.media import astronaut, save, swaying_video
from tests.track.synthetic import HASTY, QUICK


class Notes:
    """A progress that remembers its notes and stages."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done: dict[str, int] = {}
        self.totals: dict[str, int | None] = {}

    def stage(self, name: str, total: int | None = None):
        import contextlib

        @contextlib.contextmanager
        def running():
            self.done[name], self.totals[name] = 0, total

            def advance(steps: int = 1, note: str = "") -> None:
                self.done[name] += steps

            yield advance

        return running()

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_photo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photo = save(astronaut(), tmp_path / "astronaut.png")
    progress = Notes()
    sequence = track(photo, output=tmp_path / "a.tracked", size=256, config=QUICK, progress=progress)
    assert sequence.kind == "photos" and len(sequence) == 1 and sequence.frame_rate == 0
    assert sequence.folder == tmp_path / "a.tracked"
    report = json.loads((tmp_path / "a.tracked/report.json").read_text())
    assert report["landmark_error"]["median"] < 0.04  # A few steps of the fit only; the full one reaches 0.03.
    assert report["frames"] == 1 and report["tracking"]["frames_per_second"] > 0
    assert report["alignment"]["inside"] > 0.9 and report["silhouette"]["overlap"] > 0.85
    recording = report["recording"]
    assert recording["grade"] == "usable" and {"face", "one view"} <= {r["name"] for r in recording["reasons"]}
    # Half the picture is her suit: the face is 107 pixels high, and the report says so.
    assert progress.notes == report["warnings"] and "small (107 pixels" in progress.notes[0]
    assert progress.done == progress.totals
    head = load_open_head()
    assert validate_sequence(tmp_path / "a.tracked", head).ok
    with Image.open(tmp_path / "a.tracked/overlay.png") as overlay:
        assert overlay.size[0] == 3 * overlay.size[1]
    matte = sequence.matte(0).numpy()
    assert matte[128, 128] == 255 and matte[5, 5] == 0
    # Her eyes are open, her mouth smiles.
    expression = dict(zip(head.expression_names, sequence.motion.expression[0].tolist(), strict=True))
    assert expression["eyeBlinkLeft"] < 0.3 and expression["mouthSmileLeft"] + expression["mouthUpperUpLeft"] > 0.2
    # Nothing of MediaPipe's chatter reaches the terminal.
    assert capfd.readouterr().err == ""


def test_a_video_in_memory_and_on_disk(tmp_path: Path) -> None:
    video = swaying_video(tmp_path / "v.mp4")
    sequence = track(video, output=tmp_path / "v.tracked", size=192, config=HASTY, every=2)
    assert sequence.kind == "video" and len(sequence) == 3 and sequence.frame_rate == pytest.approx(12.5)
    assert (tmp_path / "v.tracked/overlay.mp4").stat().st_size > 1000
    assert (tmp_path / "v.tracked/curves.png").stat().st_size > 1000
    recording = json.loads((tmp_path / "v.tracked/report.json").read_text())["recording"]
    # A sixth of a second.
    assert recording["grade"] == "poor" and recording["reasons"][0]["name"] == "length"
    read = read_sequence(tmp_path / "v.tracked")
    in_memory = track(video, size=192, config=HASTY, every=2)
    assert in_memory.folder is None
    for k in range(3):
        assert np.array_equal(in_memory.image(k).numpy(), read.image(k).numpy())
        assert np.array_equal(in_memory.matte(k).numpy(), read.matte(k).numpy())
    assert np.allclose(in_memory.motion.translation, read.motion.translation, atol=1e-4)


def test_a_rotated_phone_video_is_tracked_upright(tmp_path: Path) -> None:
    sequence = track(swaying_video(tmp_path / "phone.mp4", 2, rotation=90), size=192, config=HASTY)
    landmarks = sequence.landmarks
    assert landmarks is not None
    assert float(landmarks[0, 10, 1]) < float(landmarks[0, 152, 1]) - 30  # The forehead is above the chin.


@pytest.mark.parametrize("kind", ["exif", "grey", "16 bit", "alpha"])
def test_photos_of_every_kind(tmp_path: Path, kind: str) -> None:
    path, face = tmp_path / "photo.png", astronaut()[:300, 80:380]
    if kind == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6
        save(np.ascontiguousarray(np.rot90(face, 1)), path, exif=exif)
    elif kind == "grey":
        save(face.mean(-1).astype(np.uint8), path)
    elif kind == "16 bit":
        save(face.mean(-1).astype(np.uint16) * 257, path)
    else:
        alpha = np.full((*face.shape[:2], 1), 255, np.uint8)
        alpha[:, :10] = 0
        save(np.concatenate([face, alpha], -1), path)
    sequence = track(path, size=192, config=HASTY)
    landmarks = sequence.landmarks
    assert landmarks is not None
    assert float(landmarks[0, 10, 1]) < float(landmarks[0, 152, 1]) - 30


@pytest.mark.parametrize("turns", [1, 2])
def test_a_photo_that_lies_on_its_side_or_head(tmp_path: Path, turns: int) -> None:
    face = np.ascontiguousarray(astronaut()[:320, 60:380])
    upright = track(save(face, tmp_path / "up.png"), size=192, config=HASTY)
    progress = Notes()
    photo = save(np.ascontiguousarray(np.rot90(face, turns)), tmp_path / "me.png")
    sequence = track(photo, size=192, config=HASTY, progress=progress)
    assert np.array_equal(sequence.image(0).numpy(), upright.image(0).numpy())
    assert sum("me.png" in note and "turned by" in note for note in progress.notes) == 1


def test_a_video_that_stands_on_its_head(tmp_path: Path) -> None:
    """Decided once: no frame is turned otherwise than the first."""
    face = np.ascontiguousarray(astronaut()[:320:2, 60:380:2])
    frames = [np.roll(face, shift, axis=1) for shift in (0, 3, 6, 4)]
    write_video(tmp_path / "up.mp4", frames, 25.0, quality=0)
    write_video(tmp_path / "down.mp4", [np.ascontiguousarray(np.rot90(f, 1)) for f in frames], 25.0, quality=0)
    progress = Notes()
    up = track(tmp_path / "up.mp4", size=160, config=HASTY)
    down = track(tmp_path / "down.mp4", size=160, config=HASTY, progress=progress)
    assert any("turned by 90 degrees to the right" in note for note in progress.notes)
    for k in range(4):
        # Both are stored with colours at half the resolution, of other pairs of pixels after a turn.
        assert np.abs(up.image(k).numpy().astype(int) - down.image(k).numpy()).mean() < 3
    assert up.landmarks is not None and down.landmarks is not None
    assert float((up.landmarks - down.landmarks).abs().max()) < 3


def test_an_animated_webp_is_a_video(tmp_path: Path) -> None:
    face = astronaut()[:320:2, 60:380:2]
    images = [Image.fromarray(np.roll(face, shift, axis=1)) for shift in (0, 3, 6, 4)]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], duration=200, lossless=True)
    sequence = track(tmp_path / "a.webp", size=160, config=HASTY)
    assert sequence.kind == "video" and len(sequence) == 4 and sequence.frame_rate == pytest.approx(5, rel=0.01)
    assert np.array_equal(sequence.image(2).numpy(), np.asarray(images[2]))


def test_what_is_only_a_little_like_a_face_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a detector that is less sure of her than of any person."""
    from spatialavatar.track import observe
    from spatialavatar.track.upright import Upright

    monkeypatch.setattr(observe, "find_upright", lambda images, detector: Upright(0, 0.7))
    progress = Notes()
    photo = save(astronaut()[:320, 60:380], tmp_path / "cat.png")
    track(photo, size=192, config=HASTY, progress=progress, output=tmp_path / "a.tracked")
    assert sum("only a little like a person's face" in note for note in progress.notes) == 1
    recording = json.loads((tmp_path / "a.tracked/report.json").read_text())["recording"]
    assert recording["grade"] == "poor" and recording["reasons"][0]["name"] == "person"


def test_two_faces_take_the_larger_and_say_so(tmp_path: Path) -> None:
    canvas = np.full((420, 900, 3), 200, np.uint8)
    canvas[20:320, 20:320] = astronaut()[:300, 80:380]
    canvas[40:265, 500:725] = np.asarray(Image.fromarray(astronaut()[:300, 80:380]).resize((225, 225)))
    progress = Notes()
    sequence = track(save(canvas, tmp_path / "two.png"), size=192, config=HASTY, progress=progress)
    assert any("2 faces; the largest is used" in note for note in progress.notes)
    assert len(sequence) == 1


def blank() -> np.ndarray:
    return np.random.default_rng(0).integers(90, 160, (240, 320, 3), np.uint8)


def test_no_face_in_a_photo(tmp_path: Path) -> None:
    photo = save(blank(), tmp_path / "wall.png")
    with pytest.raises(UserError, match="no face is found in this photo") as caught:
        track(photo, output=tmp_path / "a.tracked")
    assert "wall.png" in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wall.png"]


def test_no_face_in_a_video(tmp_path: Path) -> None:
    write_video(tmp_path / "wall.mp4", [blank()] * 4, 25.0)
    with pytest.raises(UserError, match="no face is found in this video"):
        track(tmp_path / "wall.mp4", output=tmp_path / "a.tracked")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wall.mp4"]


def test_a_face_too_small(tmp_path: Path) -> None:
    canvas = np.full((480, 640, 3), 128, np.uint8)
    canvas[100:292, 200:392] = np.asarray(Image.fromarray(astronaut()).resize((192, 192)))
    with pytest.raises(UserError, match="too small"):
        track(save(canvas, tmp_path / "far.png"))


def test_a_mask_instead_of_a_photo(tmp_path: Path) -> None:
    mask = np.zeros((200, 200), np.uint8)
    mask[50:150, 60:140] = 255
    with pytest.raises(UserError, match="looks like a mask"):
        track(save(mask, tmp_path / "mask.png"), output=tmp_path / "a.tracked")
    assert not (tmp_path / "a.tracked").exists()


def test_inputs_that_make_no_sense(tmp_path: Path) -> None:
    photo, video = save(astronaut(), tmp_path / "a.png"), swaying_video(tmp_path / "v.mp4", 2)
    with pytest.raises(UserError, match="nothing to track"):
        track([])
    with pytest.raises(UserError, match="does not exist"):
        track(tmp_path / "none.mp4")
    with pytest.raises(UserError, match="one video or several photos"):
        track([video, photo])
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UserError, match="text file, not a video or a photo"):
        track(tmp_path / "a.txt")
    with pytest.raises(UserError, match="too many"):
        track([photo] * 17)
    (tmp_path / "taken.tracked").mkdir()
    with pytest.raises(UserError, match="exists already"):
        track(photo, output=tmp_path / "taken.tracked")
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:300])
    with pytest.raises(UserError, match=r"cut\.mp4"):
        track(tmp_path / "cut.mp4")


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    photo = save(astronaut(), tmp_path / "a.png")
    monkeypatch.setattr("spatialavatar.track.tracker.fit_sequence", interrupted)
    with pytest.raises(KeyboardInterrupt):
        track(photo, output=tmp_path / "a.tracked")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png"]


def test_a_full_disk_is_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = save(astronaut(), tmp_path / "a.png")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="no disk space"):
        track(photo, output=tmp_path / "a.tracked", config=HASTY)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png"]


def test_the_drawn_mesh_covers_what_is_in_front() -> None:
    """Two triangles facing the camera: the nearer hides the other; one that faces away is not drawn."""
    pixels = np.array([[10, 10], [10, 50], [50, 10], [12, 12], [12, 40], [40, 12]], np.float64)
    depths = np.array([2, 2, 2, 1, 1, 1], np.float32)
    vertices = np.concatenate([pixels * [1, -1], -depths[:, None]], 1).astype(np.float32)
    vertices[3:, 2] += np.array([0, 10, 20])  # Tilted, so that it is lit otherwise.
    image = np.zeros((60, 60, 3), np.uint8)
    both = draw_mesh(image, vertices, pixels, depths, np.array([[0, 1, 2], [3, 4, 5]]))
    far = draw_mesh(image, vertices, pixels, depths, np.array([[0, 1, 2]]))
    assert (both[15, 15] != far[15, 15]).any() and (both[11, 45] == far[11, 45]).all()
    assert not draw_mesh(image, vertices, pixels, depths, np.array([[0, 2, 1]])).any()
