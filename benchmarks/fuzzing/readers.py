"""Every reader of files that somebody else may have written, with small valid files that it makes itself."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.head import Head
from tests.sequence.readers.truth import flame_head, truth

Tree = dict[str, bytes]
"""Paths below a folder -> contents."""


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: Of the reader.
        make: Writes valid inputs; each becomes a folder inside the one that it is given.
        read: Reads one; what it returns is searched for numbers that are not finite.
        given: What `read` is given, below the input's folder; empty for that folder.
        targets: Ends of the names of files that are damaged; others stay.
        quick: Inputs of the short form in the tests: about a quarter of a second each reader.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    given: str = ""
    targets: tuple[str, ...] = ("",)
    quick: int = 200

    @cached_property
    def trees(self) -> list[Tree]:
        """Valid inputs."""
        with tempfile.TemporaryDirectory() as name:
            self.make(Path(name))
            return [
                {
                    path.relative_to(top).as_posix(): path.read_bytes()
                    for path in sorted(top.rglob("*"))
                    if path.is_file()
                }
                for top in sorted(Path(name).iterdir())
            ]

    def is_target(self, name: str) -> bool:
        return name.endswith(self.targets)


READERS: dict[str, Reader] = {}


def _reader(name: str, make: Callable[[Path], None], **options: Any) -> Callable[[Callable[[Path], Any]], Any]:
    def register(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        READERS[name] = Reader(name, make, read, **options)
        return read

    return register


# ---------------------------------------------------------------- avatars, motions, generators, checkpoints


def _avatars(folder: Path) -> None:
    from spatialavatar.avatar.file import save_avatar
    from tests.avatar.test_residual import random_residual
    from tests.synthetic import painted_avatar

    picture = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 100, 50)).save(picture, "PNG")
    plain = replace(painted_avatar(8), provenance={"consent": "yes", "sources": ["a.jpg"], "n": 3})
    avatars = (plain, replace(plain, residual=random_residual(len(plain)), light=torch.zeros(8)))
    for number, avatar in enumerate(avatars):
        (folder / str(number)).mkdir()
        save_avatar(avatar, folder / str(number) / "me.avatar", preview_png=picture.getvalue())


@_reader("avatar-header", _avatars, given="me.avatar")
def _read_header(path: Path) -> Any:
    from spatialavatar.avatar.file import read_avatar_header, read_preview
    from spatialavatar.cli.info import _facts

    return read_avatar_header(path), read_preview(path), _facts(path)


@_reader("avatar", _avatars, given="me.avatar", quick=100)
def _read_avatar(path: Path) -> Any:
    from spatialavatar.avatar.file import load_avatar

    return load_avatar(path)


@_reader("packet", _avatars, given="me.avatar", quick=20)
def _read_packet(path: Path) -> Any:
    from spatialavatar.avatar.file import load_avatar
    from spatialavatar.view.packet import avatar_packet

    packet = avatar_packet(load_avatar(path), "me")
    header = json.loads(packet[8 : 8 + int.from_bytes(packet[:8], "little")])
    return json.loads(header["__metadata__"]["header"])


def _motions(folder: Path) -> None:
    from spatialavatar.drive.motion_file import write_motion
    from spatialavatar.drive.show import expression_reel

    (folder / "0").mkdir()
    write_motion(expression_reel().frames(stop=6), folder / "0" / "me.motion.safetensors")


@_reader("motion", _motions, given="me.motion.safetensors")
def _read_motion(path: Path) -> Any:
    from spatialavatar.cli.info import _facts
    from spatialavatar.drive.motion_file import read_motion

    return read_motion(path), _facts(path)


def _generators(folder: Path) -> None:
    from spatialavatar.generate.checkpoint import save_generator
    from spatialavatar.generate.config import config_as_dict
    from tests.generate.small import SMALL, small_generator

    tiny = replace(SMALL, layout_resolution=16, canvas_resolution=8, unet_widths=(4, 4, 4), encoder_widths=(4, 4, 4, 4))
    from spatialavatar.generate.generator import Generator
    from spatialavatar.head import load_open_head
    from spatialavatar.head.uv import build_uv_layout

    torch.manual_seed(0)
    generator = Generator(tiny, load_open_head(), build_uv_layout(load_open_head(), 16)).eval()
    for number, made in enumerate((generator, small_generator())):
        (folder / str(number)).mkdir()
        save_generator(made, folder / str(number) / "g.safetensors", {"note": config_as_dict(tiny)})


@_reader("generator", _generators, given="g.safetensors", quick=25)
def _read_generator(path: Path) -> Any:

    # Weights of a DINO are looked for on disk, or asked for on the network: that is not this file's content.
    from spatialavatar.generate.checkpoint import load_generator, read_generator_header
    from spatialavatar.generate.config import config_from_dict

    contents = read_generator_header(path)
    if config_from_dict(contents.header["config"], path).encoder != "compact":
        raise UserError("a DINO", where=path)
    return dict(load_generator(path).state_dict())


@cache
def _run() -> Any:
    from spatialavatar.refine.config import AntiSpike, RefineConfig
    from spatialavatar.refine.refinement import Refinement
    from tests.synthetic import greyed, subject

    made = subject(2, 32, 16)
    config = RefineConfig(iterations=6, anti_spike=AntiSpike(freeze_iterations=2, aspect_after=2))
    run = Refinement(greyed(made.avatar), made.sequence, config)
    for _ in range(3):
        run.step()
    return run


def _checkpoints(folder: Path) -> None:
    (folder / "0").mkdir()
    from spatialavatar.refine.run_state import save_run

    save_run(_run(), folder / "0" / "c.safetensors", 1.0)


@_reader("refine-checkpoint", _checkpoints, given="c.safetensors")
def _read_checkpoint(path: Path) -> Any:
    from spatialavatar.refine.run_state import _tensors, load_run

    load_run(_run(), path)
    return {name: value for name, value in _tensors(_run()).items() if name != "losses"}


# ---------------------------------------------------------------- tracked folders, sets, shards


def _tracked(folder: Path) -> None:
    from spatialavatar.sequence.folder import write_sequence
    from tests.synthetic import subject

    write_sequence(subject(2, 16, 16).sequence, folder / "a.tracked")


@_reader("tracked-folder", _tracked, quick=80, targets=(".json", ".safetensors", "00000.png"))
def _read_tracked(path: Path) -> Any:
    from spatialavatar.sequence.folder import folder_problems, read_sequence

    folder_problems(path)
    sequence = read_sequence(path)
    return sequence, sequence.image(0), sequence.matte(0)


def _sets(folder: Path) -> None:
    from spatialavatar.prepare.shards import write_shards
    from spatialavatar.sequence.folder import write_sequence
    from tests.synthetic import subject

    sequence = subject(1, 8, 16).sequence
    for name in ("ann", "ben"):
        (folder / "set" / name).mkdir(parents=True)
        write_sequence(sequence, folder / "set" / name / "front")
    header = {"format": "spatialavatar.set", "format_version": 1, "subjects": ["ann", "ben"], "cameras": ["front"]}
    (folder / "set" / "set.json").write_text(json.dumps(header))
    write_sequence(sequence, folder / "b.tracked")
    write_shards([folder / "b.tracked"], folder / "set")
    shutil.rmtree(folder / "b.tracked")


@_reader("set", _sets, quick=80, targets=("set.json", "shards.json"))
def _read_set(path: Path) -> Any:
    from spatialavatar.prepare.shards import check_shards
    from spatialavatar.sequence.readers import read_layout

    check_shards(path)
    reading = read_layout("tracked", path)
    return reading, reading.report()


def _shards(folder: Path) -> None:
    from spatialavatar.prepare.shards import write_shards
    from spatialavatar.sequence.folder import write_sequence
    from tests.synthetic import subject

    sequence = subject(1, 8, 16).sequence
    (folder / "shard").mkdir()
    for name in ("a", "b"):
        write_sequence(sequence, folder / f"{name}.tracked")
    (shard,) = write_shards([folder / "a.tracked", folder / "b.tracked"], folder / "packed")
    shard.rename(folder / "shard" / "0.tar")
    for name in ("a.tracked", "b.tracked", "packed"):
        shutil.rmtree(folder / name)


@_reader("shard", _shards, given="0.tar", quick=30)
def _read_shard(path: Path) -> Any:
    from spatialavatar.prepare.shards import read_shard

    before = sorted(path.parent.parent.iterdir())
    with tempfile.TemporaryDirectory(dir=path.parent) as output:
        try:
            return read_shard(path, Path(output) / "out")
        finally:
            outside = [found for found in Path(output).iterdir() if found.name != "out"]
            assert not outside and sorted(path.parent.parent.iterdir()) == before, "written outside"


# ---------------------------------------------------------------- tables and arrays that drive


def _rows(folder: Path) -> None:
    from spatialavatar.drive.recording import ARKIT_NAMES

    titles = [
        "Timecode",
        "BlendShapeCount",
        *(name[0].upper() + name[1:] for name in ARKIT_NAMES),
        "HeadYaw",
        "HeadPitch",
    ]
    rows = [[f"00:00:{k // 30:02d}:{k % 30:02d}.000", "52", *["0.25"] * 52, "0.1", "0.2"] for k in range(40)]
    for number, separator in enumerate(",;"):
        (folder / str(number)).mkdir()
        (folder / str(number) / "take.csv").write_text("\n".join(separator.join(row) for row in [titles, *rows]) + "\n")


@_reader("arkit-csv", _rows, given="take.csv", quick=100)
def _read_csv(path: Path) -> Any:
    from spatialavatar.drive.arkit_table import read_arkit_table

    return read_arkit_table(path)


def _lines(folder: Path) -> None:
    (folder / "0").mkdir()
    line = "mouthSmile_R-0|eyeLookOut_L-12|jawOpen-40|=head#-21.5,-6.0,-6.6,-0.03,-0.10,-0.66|rightEye#6.0,2.4,0.3|"
    lines = [f"{k / 60:.4f} {line}leftEye#6.0,-1.7,-0.2|" for k in range(20)]
    (folder / "0" / "take.txt").write_text("\n".join(lines) + "\n")


@_reader("ifacialmocap", _lines, given="take.txt", quick=100)
def _read_lines(path: Path) -> Any:
    from spatialavatar.drive.load import load_recording

    return load_recording(path, _small_flame(), warn=lambda text: None)


def _exports(folder: Path) -> None:
    (folder / "0").mkdir()
    names = ["EyeBlinkLeft", "JawOpen", "MouthClose"]
    rows = [[0.1, 0.2, 0.3]] * 8
    content = {"exportFps": 30, "facsNames": names, "numFrames": 8, "numPoses": 3, "weightMat": rows}
    (folder / "0" / "take.json").write_text(json.dumps(content))


@_reader("audio2face", _exports, given="take.json", quick=100)
def _read_export(path: Path) -> Any:
    from spatialavatar.drive.load import load_recording

    return load_recording(path, _small_flame(), warn=lambda text: None)


def _weights(folder: Path) -> None:
    from spatialavatar.drive.recording import ARKIT_NAMES

    (folder / "0").mkdir()
    arrays = {"weights": np.full((5, 52), 0.25), "names": np.array(ARKIT_NAMES), "frame_rate": np.array(30.0)}
    np.savez(folder / "0" / "take.npz", **arrays, head_angles=np.zeros((5, 3)), eye_angles=np.zeros((5, 4), np.float32))
    (folder / "1").mkdir()
    np.savez_compressed(folder / "1" / "take.npz", weights=np.full((5, 52), 0.25, np.float32))


@_reader("arkit-npz", _weights, given="take.npz", quick=100)
def _read_arkit(path: Path) -> Any:
    from spatialavatar.drive.arkit_npz import read_arkit_npz

    return read_arkit_npz(path)


def _flame_motions(folder: Path) -> None:
    (folder / "0").mkdir()
    arrays = {
        "expr": np.zeros((5, 50)),
        "jaw_pose": np.zeros((5, 3)),
        "eyes_pose": np.zeros((5, 6)),
        "frame_rate": 25.0,
    }
    names = np.array([f"expression_{k:03d}" for k in range(50)])
    np.savez(
        folder / "0" / "take.npz", **arrays, expression_names=names, head_edition=np.array("flame"), sight=np.eye(3)
    )


@_reader("flame-npz", _flame_motions, given="take.npz", quick=100)
def _read_flame_motion(path: Path) -> Any:
    from spatialavatar.drive.flame_npz import is_flame_npz, read_flame_npz

    is_flame_npz(path)
    return read_flame_npz(path, _small_flame())


def _messages(folder: Path) -> None:
    from spatialavatar.drive.live_protocol import Frame, frame_message

    frame = Frame((0.25,) * 52, (0.1, 0.2, 0.3), (0.1,) * 4, 7)
    for name, text in {"a": frame_message(frame), "b": '{"type": "neutral", "of": [1, 2]}'}.items():
        (folder / name).mkdir()
        (folder / name / "message").write_text(text)


@_reader("live-message", _messages, given="message")
def _read_message(path: Path) -> Any:
    from spatialavatar.drive.live_protocol import ProtocolError, parse_message

    content = path.read_bytes()
    try:
        return parse_message(content.decode("utf-8", "replace") if content[:1] == b"{" else content)
    except ProtocolError as error:
        # Answered to whoever sent it, as the server does.
        raise UserError(str(error)) from None


def _packets(folder: Path) -> None:
    from spatialavatar.drive.live_link import Packet, write_packet
    from spatialavatar.drive.live_protocol import Frame

    (folder / "0").mkdir()
    frame = Frame((0.25,) * 52, (0.1, 0.2, 0.3), (0.1,) * 4, 7)
    (folder / "0" / "packet").write_bytes(write_packet(Packet("phone", "me", 60.0, frame)))


@_reader("live-link", _packets, given="packet")
def _read_link(path: Path) -> Any:
    from spatialavatar.drive.live_link import read_packet

    return read_packet(path.read_bytes())


# ---------------------------------------------------------------- heads


@cache
def _small_flame() -> Head:
    with tempfile.TemporaryDirectory() as name:
        _flame_models(Path(name))
        from spatialavatar.head.flame import load_flame

        return load_flame(Path(name) / "0" / "model")


def _flame_models(folder: Path) -> None:
    from scipy.sparse import csc_matrix

    from tests.head.synthetic import flame_arrays

    arrays = flame_arrays()
    arrays |= {"vt": np.random.default_rng(0).random((60, 2)), "ft": arrays["f"] % 60}
    # Fewer shapes would be refused; in half precision the file is small.
    arrays = {key: value.astype(np.float16) if value.ndim == 3 else value for key, value in arrays.items()}
    for name in "012":
        (folder / name).mkdir()
    np.savez_compressed(folder / "0" / "model", **arrays)
    (folder / "0" / "model.npz").rename(folder / "0" / "model")
    sparse = {**arrays, "J_regressor": csc_matrix(arrays["J_regressor"])}
    (folder / "1" / "model").write_bytes(pickle.dumps(sparse, 2))
    with (folder / "2" / "model").open("wb") as stream:
        np.savez(stream, **{**arrays, "J_regressor": np.array(sparse["J_regressor"], object)})


@_reader("flame-model", _flame_models, given="model", quick=60)
def _read_flame(path: Path) -> Any:
    from spatialavatar.head.load import load_head

    head = load_head(path)
    return head, _layout_of(head)


def _layout_of(head: Head) -> Any:
    from spatialavatar.head.uv import build_uv_layout

    layout = build_uv_layout(head, 32)
    return layout.barycentric, head.pose(head.prepare_identity(torch.zeros(3)), _still(head))


def _still(head: Head) -> Any:
    from spatialavatar.head.motion import Motion

    return Motion.neutral(1, head.num_expressions)


def _gnm_models(folder: Path) -> None:
    from tests.head.synthetic import gnm_arrays

    (folder / "0").mkdir()
    with (folder / "0" / "model").open("wb") as stream:
        np.savez_compressed(stream, **gnm_arrays())


@_reader("gnm-model", _gnm_models, given="model", quick=40)
def _read_gnm(path: Path) -> Any:
    from spatialavatar.head.load import load_head

    head = load_head(path)
    return head, head.pose(head.prepare_identity(torch.zeros(3)), _still(head))


def _pickles(folder: Path) -> None:
    from scipy.sparse import csr_matrix

    content = {"a": [1, 2.5, "x", None, (b"\xff",)], "b": np.arange(6.0).reshape(2, 3), "c": csr_matrix(np.eye(3))}
    for protocol in (0, 2, 4, 5):
        (folder / str(protocol)).mkdir()
        (folder / str(protocol) / "p.pkl").write_bytes(pickle.dumps(content if protocol else content["a"], protocol))


@_reader("pickle", _pickles, given="p.pkl")
def _read_pickle(path: Path) -> Any:
    from spatialavatar.head.unpickle import restricted_load

    restricted_load(path.read_bytes(), path)


# ---------------------------------------------------------------- sets of other people


def _layout(name: str) -> Callable[[Path], Any]:
    """Reads a layout, and the first frame's pictures."""

    def read(path: Path) -> Any:
        from spatialavatar.sequence.readers import read_layout

        reading = read_layout(name, path, flame_head())
        return reading, reading.report(), [(one.image(0), one.matte(0)) for one in reading.sequences]

    return read


def _vhap(folder: Path) -> None:
    from tests.sequence.readers.test_layouts import write_vhap

    write_vhap(folder / "set", truth(shapes=300, codes=100), (3, 8))
    _smaller(folder)


def _imavatar(folder: Path) -> None:
    from tests.sequence.readers.test_layouts import write_imavatar

    (folder / "set").mkdir()
    write_imavatar(folder / "set", truth(moves=False))
    _smaller(folder)


def _metrical(folder: Path) -> None:
    from tests.sequence.readers.test_layouts import write_metrical

    known = truth(body=False, neck=False, moves=False, shapes=300, codes=100)
    write_metrical(folder / "arrays", known)
    write_metrical(folder / "tensors", known)
    for number in (1, 2):  # so that one set has nothing else
        (folder / "arrays" / "checkpoint" / f"{number:05d}.frame").unlink()
    for file in (folder / "tensors" / "checkpoint").iterdir():
        contents = torch.load(file, weights_only=False)  # written just above
        for part in ("flame", "opencv"):
            contents[part] = {key: torch.from_numpy(np.asarray(value)) for key, value in contents[part].items()}
        contents["img_size"] = torch.from_numpy(contents["img_size"])
        torch.save(contents, file)
    _smaller(folder)


def _smaller(folder: Path) -> None:
    """Flat pictures in place of noise, of the same size and kind."""
    for path in folder.rglob("*.png"):
        with Image.open(path) as picture:
            flat = picture.resize((2, 2)).resize(picture.size, Image.Resampling.NEAREST)
        flat.save(path)


def _gagavatar(in_lmdb: bool) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        random, frames, pictures = np.random.default_rng(0), {}, {}
        stream = io.BytesIO()
        Image.new("RGB", (512, 512), (90, 60, 30)).save(stream, "PNG")
        for number in (9, 10):
            frames[f"clip_{number}"] = {
                "bbox": np.array([0.1, 0.1, 0.9, 0.9], np.float32),
                "shapecode": random.normal(size=300).astype(np.float32),
                "expcode": random.normal(size=100).astype(np.float32),
                "posecode": np.zeros(6, np.float32),
                "eyecode": np.zeros(6, np.float32),
                "transform_matrix": np.eye(4)[:3] + 0.1,
            }
            pictures[f"clip_{number}"] = stream.getvalue()
        (folder / "clip" / "images").mkdir(parents=True)
        (folder / "clip" / "smoothed.pkl").write_bytes(pickle.dumps(frames))
        if in_lmdb:
            import lmdb

            place = str(folder / "clip" / "img_lmdb")
            with lmdb.open(place, map_size=2**20, lock=False) as database, database.begin(write=True) as writing:
                for number in range(60):  # as many as make the tree have two levels
                    pictures.setdefault(f"other_{number}", bytes(90))
                for key, payload in pictures.items():
                    writing.put(key.encode(), payload)
        else:
            for key, payload in pictures.items():
                (folder / "clip" / "images" / f"{key}.png").write_bytes(payload)

    return make


def _nersemble(folder: Path) -> None:
    from tests.sequence.readers.test_layouts import write_nersemble

    write_nersemble(folder / "set", truth(shapes=300, codes=100), {"1": 3})


_reader("vhap", _vhap, targets=(".json", ".npz", "00000_03.png"), quick=25)(_layout("vhap"))
_reader("imavatar", _imavatar, targets=(".json", "1.png"), quick=60)(_layout("imavatar"))
_reader("metrical", _metrical, targets=(".frame",), quick=40)(_layout("metrical"))
_reader("gagavatar-pickle", _gagavatar(False), targets=(".pkl",), quick=40)(_layout("gagavatar"))
_reader("gagavatar-lmdb", _gagavatar(True), targets=(".mdb",), quick=25)(_layout("gagavatar"))
_reader("nersemble", _nersemble, given="017/sequences/EXP-1-head", targets=(".json", ".npz"), quick=15)(
    _layout("nersemble")
)


def _clip_lists(folder: Path) -> None:
    (folder / "0" / "raw").mkdir(parents=True)
    part = {
        "duration": {"start_sec": 1.0, "end_sec": 3.5},
        "bbox": {"top": 0.1, "bottom": 0.9, "left": 0.2, "right": 0.8},
    }
    clips = {"one": {"ytb_id": "abc", **part}, "two": {"ytb_id": "def", **part}}
    (folder / "0" / "celebvhq_info.json").write_text(json.dumps({"clips": clips}))
    (folder / "0" / "a_annotion_time.txt").write_text("Radio1.mp4 00:10-00:30 01:00-01:20\n")
    (folder / "0" / "a_crop_wh.txt").write_text("Radio1_0.mp4 10 200 20 200\n")


@_reader("clip-lists", _clip_lists)
def _read_clip_lists(path: Path) -> Any:
    from spatialavatar.sequence.readers.clips import celebv_hq, hdtf

    try:
        hdtf(path)
    except UserError:
        pass
    return celebv_hq(path)


# ---------------------------------------------------------------- photos, findings


def _photos(folder: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, kind, options in (
        *(
            ("0", "PNG", {"exif": exif}),
            ("1", "JPEG", {"exif": exif}),
            ("2", "WEBP", {}),
            ("3", "TIFF", {}),
            ("4", "BMP", {}),
        ),
    ):
        (folder / name).mkdir()
        picture.save(folder / name / "photo.png", kind, **options)


@_reader("photo", _photos, given="photo.png", quick=100)
def _read_photo(path: Path) -> Any:
    from spatialavatar.sequence.photo import read_photo

    return read_photo(path)


def _findings(folder: Path) -> None:
    place = folder / "0"
    (place / "predictions").mkdir(parents=True)
    (place / "targets" / "me").mkdir(parents=True)
    (place / "estimator.json").write_text(json.dumps({"name": "deep3d", "version": "2020", "angles": "degrees"}))
    values = {"expression": np.ones((2, 9)), "angles": np.zeros((2, 3)), "keypoints": np.ones((2, 68, 2), np.float32)}
    np.savez(place / "predictions" / "me.npz", names=np.array(["a", "b"]), **values)
    for index, name in enumerate("ab"):
        np.savez(place / "targets" / "me" / f"{name}.npz", **{key: value[index] for key, value in values.items()})


@_reader("estimator", _findings, quick=60)
def _read_findings(path: Path) -> Any:
    from spatialavatar.evaluate.given import open_estimator, with_estimators
    from tests.evaluate.test_given import scores

    # A frame without a finding is NaN; that is what NaN means there.
    with_estimators(replace(scores(), names=("a", "b")), [open_estimator(path)], 512)
