"""Every layout, written by hand from a known subject and read back: cameras, motion, pixels, and the mesh's place."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.sequence.folder import read_sequence, write_sequence
from spatialavatar.sequence.readers import LAYOUTS, read_layout
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import alignment_score
from spatialavatar.sequence.video import write_video
from tests.sequence.readers.truth import FRAMES, SIZE, Truth, flame_head, paint, save, truth
from tests.synthetic import subject

# The tables are float32.
NEAR = {"rtol": 0, "atol": 2e-6}


def check(sequence: TrackedSequence, known: Truth, pictures: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Codes, mesh in the picture, pixels and the alignment score."""
    head = flame_head()
    assert sequence.head_edition == head.edition and len(sequence) == FRAMES
    np.testing.assert_allclose(sequence.identity.numpy(), known.identity, **NEAR)
    codes = known.expression.shape[1]
    np.testing.assert_allclose(sequence.motion.expression[:, :codes].numpy(), known.expression, **NEAR)
    np.testing.assert_allclose(sequence.motion.jaw_rotation.numpy(), known.jaw_rotation, **NEAR)
    np.testing.assert_allclose(sequence.motion.eyes_rotation.numpy(), known.eyes_rotation, **NEAR)
    vertices = head.pose(sequence.identity, sequence.motion).double().numpy()
    for frame in range(FRAMES):
        matrix = sequence.camera_from_world[frame].double().numpy()
        seen = vertices[frame] @ matrix[:3, :3].T + matrix[:3, 3]
        pixels = seen @ sequence.intrinsics[frame].double().numpy().T
        # A thousandth of a pixel: float32 of metres, at 400 pixels a metre and more.
        np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], known.project(frame), atol=5e-3)
        image, matte = pictures[frame]
        assert (sequence.image(frame).numpy() == image).all()
        assert (sequence.matte(frame).numpy() == matte).all()
    overlap, inside = alignment_score(sequence, head)
    assert overlap > 0.98 and inside > 0.98  # silhouettes are drawn from float64 and float32 vertices


# ---------------------------------------------------------------- IMavatar, SplattingAvatar


def write_imavatar(folder: Path, known: Truth) -> list[tuple[np.ndarray, np.ndarray]]:
    """FLAME times four before a camera with y up that looks along -z; a negative fx, as the set's files have it."""
    frames, pictures = [], []
    for frame in range(FRAMES):
        matrix = known.camera_from_world[frame][:3].copy()
        matrix[:, 3] *= 4
        matrix[1:] *= -1
        image, matte = paint(known.project(frame), frame)
        pictures.append((image, matte))
        save(folder / "image" / f"{frame + 1}.png", image, matte)
        pose = [known.global_rotation, known.neck_rotation, known.jaw_rotation, known.eyes_rotation]
        frames.append(
            {
                "file_path": f"./image/{frame + 1}",
                "world_mat": matrix.tolist(),
                "expression": known.expression[frame].tolist(),
                "pose": np.concatenate([part[frame] for part in pose]).tolist(),
            }
        )
    k = known.k / SIZE
    contents = {
        "intrinsics": [-k[0, 0], k[1, 1], k[0, 2], k[1, 2]],
        "shape_params": known.identity.tolist(),
        "frames": frames,
    }
    (folder / "flame_params.json").write_text(json.dumps(contents))
    return pictures


def test_imavatar(tmp_path: Path) -> None:
    known = truth(moves=False)
    pictures = write_imavatar(tmp_path, known)
    reading = read_layout("imavatar", tmp_path, flame_head())
    check(reading.sequences[0], known, pictures)
    assert reading.sequences[0].names == ("1", "2", "3") and not reading.skipped


def test_imavatar_in_a_folder_of_another_name(tmp_path: Path) -> None:
    known = truth(moves=False)
    pictures = write_imavatar(tmp_path, known)
    (tmp_path / "image").rename(tmp_path / "images")
    check(read_layout("auto", tmp_path, flame_head()).sequences[0], known, pictures)


# ---------------------------------------------------------------- VHAP, GaussianAvatars


def write_vhap(folder: Path, known: Truth, cameras: tuple[int, ...] = (8,)) -> dict[int, list]:
    """Cameras to world with y up and z back; parameters a file an instant; the last instant in a file of its own."""
    frames, pictures = [], {camera: [] for camera in cameras}
    (folder / "flame_param").mkdir(parents=True)
    for frame in range(FRAMES):
        np.savez(
            folder / "flame_param" / f"{frame:05d}.npz",
            translation=known.translation[None, frame],
            rotation=known.global_rotation[None, frame],
            neck_pose=known.neck_rotation[None, frame],
            jaw_pose=known.jaw_rotation[None, frame],
            eyes_pose=known.eyes_rotation[None, frame],
            shape=known.identity,
            expr=known.expression[None, frame],
            static_offset=np.zeros((1, 10, 3)),
        )
        for camera in cameras:
            matrix = np.linalg.inv(known.camera_from_world[frame]) @ np.diag([1.0, -1.0, -1.0, 1.0])
            image, matte = paint(known.project(frame), 10 * camera + frame)
            pictures[camera].append((image, matte))
            stem = f"{frame:05d}_{camera:02d}.png"
            save(folder / "images" / stem, image)
            (folder / "fg_masks").mkdir(exist_ok=True)
            Image.fromarray(matte).save(folder / "fg_masks" / stem)
            frames.append(
                {
                    "timestep_index": frame,
                    "camera_index": camera,
                    "camera_id": f"{camera:02d}",
                    "cx": known.k[0, 2],
                    "cy": known.k[1, 2],
                    "fl_x": known.k[0, 0],
                    "fl_y": known.k[1, 1],
                    "transform_matrix": matrix.tolist(),
                    "file_path": f"images/{stem}",
                    "fg_mask_path": f"fg_masks/{stem}",
                    "flame_param_path": f"flame_param/{frame:05d}.npz",
                }
            )
    for split, test in (("train", False), ("test", True)):
        chosen = [frame for frame in frames if (frame["timestep_index"] == FRAMES - 1) == test]
        (folder / f"transforms_{split}.json").write_text(json.dumps({"frames": chosen}))
    return pictures


def test_vhap(tmp_path: Path) -> None:
    known = truth(shapes=300, codes=100)
    pictures = write_vhap(tmp_path, known)
    (sequence,) = read_layout("vhap", tmp_path, flame_head()).sequences
    check(sequence, known, pictures[8])
    np.testing.assert_allclose(sequence.camera_from_world.numpy(), known.camera_from_world, **NEAR)
    np.testing.assert_allclose(sequence.motion.global_rotation.numpy(), known.global_rotation, **NEAR)
    np.testing.assert_allclose(sequence.motion.translation.numpy(), known.translation, **NEAR)


def test_vhap_has_a_sequence_a_camera_with_the_same_instants(tmp_path: Path) -> None:
    known = truth(shapes=300, codes=100)
    pictures = write_vhap(tmp_path, known, (3, 8))
    (tmp_path / "images" / "00001_03.png").unlink()
    reading = read_layout("vhap", tmp_path, flame_head())
    assert reading.names == ("03", "08")
    # What one camera lacks, none has.
    assert [sequence.names for sequence in reading.sequences] == [("00000", "00002")] * 2
    assert (reading.sequences[1].image(1).numpy() == pictures[8][2][0]).all()
    assert {(item.where, item.why) for item in reading.skipped} == {
        ("00001", "its picture is missing"),
        ("00001", "camera 03 lacks it"),
    }


# ---------------------------------------------------------------- metrical-tracker, INSTA


def rows_of(rotation: np.ndarray) -> np.ndarray:
    """A rotation's first two rows, stretched, as six numbers."""
    return np.concatenate([2.0 * rotation[0], 0.5 * rotation[1] + 0.1 * rotation[0]])


def rotation_of(vector: np.ndarray) -> np.ndarray:
    """Rodrigues' formula."""
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def write_metrical(folder: Path, known: Truth, first: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """torch.save of numpy arrays in dictionaries; pictures numbered from `first`."""
    (folder / "checkpoint").mkdir(parents=True)
    pictures = []
    for frame in range(FRAMES):
        camera = known.camera_from_world[frame]
        eyes = [rows_of(rotation_of(known.eyes_rotation[frame, part])) for part in (slice(0, 3), slice(3, 6))]
        contents = {
            "flame": {
                "exp": known.expression[None, frame].astype(np.float32),
                "shape": known.identity[None].astype(np.float32),
                "eyes": np.concatenate(eyes)[None].astype(np.float32),
                "eyelids": np.full((1, 2), 0.3, np.float32),
                "jaw": rows_of(rotation_of(known.jaw_rotation[frame]))[None].astype(np.float32),
            },
            "opencv": {"R": camera[None, :3, :3], "t": camera[None, :3, 3], "K": known.k[None]},
            "img_size": np.array([SIZE, SIZE]),
            "frame_id": f"{frame:05d}",
            "global_step": 1,
        }
        torch.save(contents, folder / "checkpoint" / f"{frame:05d}.frame")
        image, matte = paint(known.project(frame), frame)
        pictures.append((image, matte))
        save(folder / "images" / f"{frame + first:05d}.png", image, matte)
    return pictures


@pytest.mark.parametrize("first", [0, 1])
def test_metrical(tmp_path: Path, first: int) -> None:
    known = truth(body=False, neck=False, moves=False, shapes=300, codes=100)
    pictures = write_metrical(tmp_path, known, first)
    reading = read_layout("metrical", tmp_path, flame_head())
    check(reading.sequences[0], known, pictures)
    np.testing.assert_allclose(reading.sequences[0].camera_from_world.numpy(), known.camera_from_world, **NEAR)
    assert any("eyelid" in warning for warning in reading.warnings)
    assert any("numbered from 1" in warning for warning in reading.warnings) == (first == 1)


def test_metrical_with_tensors_inside(tmp_path: Path) -> None:
    known = truth(body=False, neck=False, moves=False, shapes=300, codes=100)
    pictures = write_metrical(tmp_path, known)
    for file in (tmp_path / "checkpoint").iterdir():
        contents = torch.load(file, weights_only=False)  # the test's own file
        for part in ("flame", "opencv"):
            contents[part] = {key: torch.from_numpy(np.asarray(value)) for key, value in contents[part].items()}
        contents["img_size"] = torch.from_numpy(contents["img_size"])
        torch.save(contents, file)
    check(read_layout("metrical", tmp_path, flame_head()).sequences[0], known, pictures)


class Harmful:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("harmed"),)


def test_a_checkpoint_with_code_is_refused_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_metrical(tmp_path, truth(body=False, neck=False, moves=False, shapes=300, codes=100))
    torch.save({"flame": Harmful()}, tmp_path / "checkpoint" / "00001.frame")
    with pytest.raises(UserError, match="nothing of it was run"):
        read_layout("metrical", tmp_path, flame_head())
    assert not (tmp_path / "harmed").exists()


# ---------------------------------------------------------------- GAGAvatar_track


def write_gagavatar(folder: Path, known: Truth, *, in_lmdb: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """FLAME times five in PyTorch3D's camera (rows times matrix, x left, y up), 12 half pictures of focal length."""
    frames, pictures, encoded = {}, [], {}
    for frame in range(FRAMES):
        rotation, shift = known.camera_from_world[frame][:3, :3], known.camera_from_world[frame][:3, 3]
        flip = np.diag([-1.0, -1.0, 1.0])
        matrix = np.concatenate([(flip @ rotation).T, (5 * flip @ shift)[:, None]], 1)
        key = f"clip_{9 + frame}"
        frames[key] = {
            "bbox": np.array([0.1, 0.1, 0.9, 0.9], np.float32),
            "shapecode": known.identity.astype(np.float32),
            "expcode": known.expression[frame].astype(np.float32),
            "posecode": np.concatenate([np.zeros(3), known.jaw_rotation[frame]]).astype(np.float32),
            "eyecode": known.eyes_rotation[frame].astype(np.float32),
            "transform_matrix": matrix.astype(np.float64),
        }
        image, matte = paint(known.project(frame), frame, 512)
        image = np.where(matte[..., None] > 0, image, 0).astype(np.uint8)
        pictures.append((image, matte))
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "PNG")
        encoded[key] = stream.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "smoothed.pkl").open("wb") as stream:
        pickle.dump(frames, stream)
    if in_lmdb:
        import lmdb

        with lmdb.open(str(folder / "img_lmdb"), map_size=2**24) as database, database.begin(write=True) as writing:
            for key, payload in encoded.items():
                writing.put(key.encode(), payload)
    else:
        (folder / "images").mkdir()
        for key, payload in encoded.items():
            (folder / "images" / f"{key}.png").write_bytes(payload)
    return pictures


@pytest.mark.parametrize("in_lmdb", [False, True])
def test_gagavatar(tmp_path: Path, in_lmdb: bool) -> None:
    if in_lmdb:
        pytest.importorskip("lmdb", reason="the extra eval is not installed")
    known = truth(body=False, neck=False, moves=False, shapes=300, codes=100, focal=6.0)
    known.k[:] = [[3072, 0, 256], [0, 3072, 256], [0, 0, 1]]
    pictures = write_gagavatar(tmp_path, known, in_lmdb=in_lmdb)
    (sequence,) = read_layout("gagavatar", tmp_path, flame_head()).sequences
    assert sequence.names == ("clip_9", "clip_10", "clip_11")  # by number, not by letters
    # The mattes are guessed from the black around; an opening rounds their corners by a pixel.
    for frame in range(FRAMES):
        guessed = sequence.matte(frame).numpy()
        assert (guessed != pictures[frame][1]).mean() < 0.003
        pictures[frame] = (pictures[frame][0], guessed)
    check(sequence, known, pictures)


# ---------------------------------------------------------------- NeRSemble v2


def write_nersemble(folder: Path, known: Truth, lengths: dict[str, int], scale: float = 7.0) -> Path:
    """World units of their own; the mesh turned about the origin; videos of twice 64 pixels a side."""
    place = folder / "017" / "sequences" / "EXP-1-head"
    (place / "images").mkdir(parents=True)
    cameras = {}
    root = flame_head().prepare_identity(torch.from_numpy(known.identity).float()).joints[0].double().numpy()
    turns = np.stack([rotation_of(vector) for vector in known.global_rotation])
    for number, (serial, length) in enumerate(lengths.items()):
        matrix = known.camera_from_world[1].copy()
        matrix[:3, 3] = scale * (matrix[:3, 3] + [0.01 * number, 0, 0])
        cameras[serial] = matrix.tolist()
        pictures = [np.full((SIZE, SIZE, 3), 40 * (frame + 1), np.uint8) for frame in range(length)]
        write_video(place / "images" / f"cam_{serial}.mp4", pictures, 25.0, quality=0)
    (folder / "017" / "calibration").mkdir()
    calibration = {"world_2_cam": cameras, "intrinsics": known.k.tolist()}
    (folder / "017" / "calibration" / "camera_params.json").write_text(json.dumps(calibration))
    tracking = place / "annotations" / "tracking" / "FLAME2023_v2"
    tracking.mkdir(parents=True)
    # x = R (v - j) + j + t about the joint is R v + (t + j - R j) about the origin.
    moved = known.translation + root - turns @ root
    np.savez(
        tracking / "tracked_flame_params.npz",
        shape=known.identity[None],
        expression=known.expression,
        neck=known.neck_rotation,
        jaw=known.jaw_rotation,
        eyes=known.eyes_rotation,
        rotation_matrices=turns,
        translation=scale * moved,
        scale=np.array([[scale]]),
    )
    return place


def test_nersemble(tmp_path: Path) -> None:
    known = truth(shapes=300, codes=100)
    place = write_nersemble(tmp_path, known, {"222200036": FRAMES, "222200037": FRAMES})
    reading = read_layout("auto", place, flame_head())
    assert reading.layout == "nersemble"
    assert [reading.unmatted_of(name) for name in reading.names] == [frozenset(reading.sequences[0].names)] * 2
    assert reading.names == ("cam_222200036", "cam_222200037")
    first, second = reading.sequences
    vertices = flame_head().pose(first.identity, first.motion).double().numpy()
    np.testing.assert_allclose(vertices, known.vertices, atol=1e-5)  # float32 metres
    np.testing.assert_allclose(first.camera_from_world[0].numpy(), known.camera_from_world[1], atol=1e-5)
    difference = second.camera_from_world[0] - first.camera_from_world[0]
    assert float(difference[0, 3]) == pytest.approx(0.01, abs=1e-6)
    # In any order; H.264 keeps plain greys within a few levels.
    for frame in (2, 0, 1):
        assert abs(int(first.image(frame)[5, 5, 0]) - 40 * (frame + 1)) <= 3
    assert bool((first.matte(0) == 255).all())


def test_nersemble_reduces_pictures_with_their_intrinsics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spatialavatar.sequence.readers import nersemble

    known = truth(shapes=300, codes=100)
    place = write_nersemble(tmp_path, known, {"1": FRAMES})
    monkeypatch.setattr(nersemble, "SIDE", 64)
    (sequence,) = read_layout("nersemble", place, flame_head()).sequences
    assert (sequence.width, sequence.height) == (64, 64) and sequence.image(0).shape == (64, 64, 3)
    np.testing.assert_allclose(sequence.intrinsics[0, :2].numpy(), known.k[:2] / 2, atol=1e-4)


def test_nersemble_frames_missing_in_one_camera_are_left_out_of_all(tmp_path: Path) -> None:
    known = truth(shapes=300, codes=100)
    place = write_nersemble(tmp_path, known, {"1": FRAMES, "2": FRAMES - 1})
    (tmp_path / "017" / "sequences" / "EXP-1-head" / "images" / "cam_2.mp4").rename(place / "images" / "cam_2.mp4")
    reading = read_layout("nersemble", place, flame_head())
    assert [len(sequence) for sequence in reading.sequences] == [FRAMES - 1] * 2
    assert any(item.where == "cam_1" and "only 2 are everywhere" in item.why for item in reading.skipped)
    (place / "images" / "cam_2.mp4").write_bytes(b"half")
    reading = read_layout("nersemble", place, flame_head())
    assert reading.names == ("cam_1",) and any(item.where == "cam_2" for item in reading.skipped)


# ---------------------------------------------------------------- our own


def test_own_folders_and_what_does_not_mix(tmp_path: Path) -> None:
    made = subject(2, 48).sequence
    written = write_sequence(made, tmp_path / "a.tracked")
    write_sequence(made, tmp_path / "b.tracked")
    reading = read_layout("auto", tmp_path)
    assert reading.layout == "tracked" and reading.names == ("a", "b")
    assert (reading.sequences[0].image(1) == written.image(1)).all()
    (tmp_path / "b.tracked" / "motion.safetensors").unlink()
    reading = read_layout("tracked", tmp_path)
    assert reading.names == ("a",) and "motion.safetensors" not in reading.skipped[0].why
    header = json.loads((tmp_path / "a.tracked" / "sequence.json").read_text())
    other = write_sequence(made, tmp_path / "c.tracked")
    assert other.folder is not None
    (other.folder / "sequence.json").write_text(json.dumps({**header, "head_edition": "flame-1"}))
    with pytest.raises(UserError, match="codes of two heads do not mix"):
        read_layout("tracked", tmp_path)


# ---------------------------------------------------------------- what is wrong


def test_a_round_trip_through_our_own_folder(tmp_path: Path) -> None:
    known = truth(moves=False)
    pictures = write_imavatar(tmp_path / "set", known)
    (sequence,) = read_layout("imavatar", tmp_path / "set", flame_head()).sequences
    write_sequence(sequence, tmp_path / "out.tracked")
    check(read_sequence(tmp_path / "out.tracked"), known, pictures)


def test_frames_that_cannot_be_used_are_named_and_left_out(tmp_path: Path) -> None:
    write_imavatar(tmp_path, truth(moves=False))
    contents = json.loads((tmp_path / "flame_params.json").read_text())
    contents["frames"] = [json.loads(json.dumps(frame)) for frame in contents["frames"] * 2]
    for position, frame in enumerate(contents["frames"]):
        frame["file_path"] = f"./image/{position + 1}"
    for position in range(3, 6):
        (tmp_path / "image" / f"{position + 1}.png").write_bytes((tmp_path / "image" / "1.png").read_bytes())
    contents["frames"][1]["world_mat"][0][3] = float("nan")
    contents["frames"][2]["expression"] = [0.0] * 100
    (tmp_path / "image" / "4.png").unlink()
    whole = (tmp_path / "image" / "5.png").read_bytes()
    (tmp_path / "image" / "5.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGBA", (64, 64)).save(tmp_path / "image" / "6.png")
    (tmp_path / "flame_params.json").write_text(json.dumps(contents))
    reading = read_layout("imavatar", tmp_path, flame_head())
    assert reading.sequences[0].names == ("1",)
    reasons = {item.where: item.why for item in reading.skipped}
    assert reasons["2"] == "its camera_from_world holds a value that is not a finite number"
    assert reasons["3"] == "it has 100 expressions, the others have 50"
    assert reasons["4"] == "its picture is missing"
    assert reasons["5"] == "its picture is cut short"
    assert reasons["6"] == f"its picture is 64 x 64, the others are {SIZE} x {SIZE}"
    assert reading.report()["frames_skipped"] == 5


def test_a_set_without_a_usable_frame_says_so(tmp_path: Path) -> None:
    write_imavatar(tmp_path, truth(moves=False))
    for path in (tmp_path / "image").iterdir():
        path.unlink()
    with pytest.raises(
        UserError,
        match=r"none of the 3 frames of this set can be used: its picture is missing \(3, for example 1, image/1\)",
    ):
        read_layout("imavatar", tmp_path, flame_head())


def test_two_people_in_one_folder_are_refused(tmp_path: Path) -> None:
    known = truth(shapes=300, codes=100)
    write_vhap(tmp_path, known)
    with np.load(tmp_path / "flame_param" / "00002.npz") as file:
        arrays = {key: file[key] for key in file.files}
    arrays["shape"] = arrays["shape"] + 0.5
    np.savez(tmp_path / "flame_param" / "00002.npz", **arrays)
    with pytest.raises(UserError, match="different identities"):
        read_layout("vhap", tmp_path, flame_head())


def test_a_half_extracted_file_is_named(tmp_path: Path) -> None:
    write_vhap(tmp_path, truth(shapes=300, codes=100))
    path = tmp_path / "flame_param" / "00001.npz"
    path.write_bytes(path.read_bytes()[:100])
    reading = read_layout("vhap", tmp_path, flame_head())
    assert any(item.why == "its flame_param file cannot be read" for item in reading.skipped)
    assert reading.sequences[0].names == ("00000", "00002")
    with zipfile.ZipFile(tmp_path / "flame_param" / "00002.npz", "w"):
        pass
    assert read_layout("vhap", tmp_path, flame_head()).sequences[0].names == ("00000",)


def test_layouts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_imavatar(tmp_path, truth(moves=False))
    with pytest.raises(UserError, match="it looks like imavatar"):
        read_layout("vhap", tmp_path, flame_head())
    with pytest.raises(UserError, match="no layout 'blender'"):
        read_layout("blender", tmp_path)
    with pytest.raises(UserError, match="FLAME 2020, whose file is needed"):
        read_layout("imavatar", tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_layout("auto", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no layout that is known"):
        read_layout("auto", tmp_path / "empty")
    assert not any(module.recognises(tmp_path / "empty") for module in LAYOUTS.values())
