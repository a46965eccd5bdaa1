"""NeRSemble v2: sixteen synchronised cameras, calibrated; FLAME 2023 where the set's tracking is at hand.

PERSON/
    calibration/camera_params.json      world_2_cam {SERIAL: 4 x 4}, OpenCV; intrinsics 3 x 3, shared
    sequences/SEQUENCE/images/cam_SERIAL.mp4
    sequences/SEQUENCE/annotations/tracking/FLAME2023_v2/tracked_flame_params.npz
        shape, expression, neck, jaw, eyes, rotation_matrices, translation, scale:
        a vertex lies at scale * rotation @ vertex + translation

FOLDER is PERSON/sequences/SEQUENCE, or a PERSON with one sequence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.files import check_file_name
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.input_files import read_json, read_npz
from spatialavatar.sequence.readers.base import (
    Reading,
    Skipped,
    fitted_codes,
    flame_needed,
    nothing_left,
)
from spatialavatar.sequence.readers.conventions import axis_angle, numbers
from spatialavatar.sequence.readers.places import SetFolder
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.video import VideoFrame, probe_video, read_video

NAME = "nersemble"
FRAME_RATE = 73.0
SIDE = 550
"""Pictures are reduced by a whole factor until their shorter side is no longer than this."""
LARGEST_TRACKING = 1 << 30
"""Bytes of a sequence's tracking; a frame takes 2 kB."""
_TRACKING = Path("annotations") / "tracking" / "FLAME2023_v2" / "tracked_flame_params.npz"
_KEYS = ("shape", "expression", "neck", "jaw", "eyes", "rotation_matrices", "translation", "scale")


def recognises(folder: Path) -> bool:
    """Whether this is such a sequence, or a person with one."""
    sequence = _sequence_folder(folder)
    return sequence is not None and any(
        path.name.lower().startswith("cam_") and path.suffix.lower() == ".mp4"
        for path in (sequence / "images").iterdir()
    )


@dataclass
class VideoFrames:
    """Frames of one camera's video, reduced; quick when they are asked for in order.

    Attributes:
        path: The video.
        positions: Name of a frame -> its number in the video.
        factor: By which it is reduced.
    """

    path: Path
    positions: dict[str, int]
    factor: int
    _frames: Iterator[VideoFrame] | None = field(default=None, repr=False)
    _last: VideoFrame | None = field(default=None, repr=False)

    def image(self, name: str) -> NDArray[np.uint8]:
        wanted = self.positions[name]
        if self._frames is None or self._last is None or self._last.index > wanted:
            self._frames, self._last = read_video(self.path, keep_count=True), None
        while self._last is None or self._last.index < wanted:
            self._last = next(self._frames, None)
            if self._last is None:
                raise UserError(f"this video ends before frame {wanted}.", where=self.path)
        return reduced(self._last.image, self.factor)

    def matte(self, name: str) -> NDArray[np.uint8]:
        return np.full(self.image(name).shape[:2], 255, np.uint8)


def reduced(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """(H, W, 3) -> means of factor x factor pixels; rows and columns beyond a whole number are left out."""
    height, width = (side // factor * factor for side in image.shape[:2])
    if factor == 1:
        return image
    return np.array(Image.fromarray(np.ascontiguousarray(image[:height, :width])).reduce(factor))


def read(folder: Path, head: Head | None) -> Reading:
    """Read one sequence of one person: a sequence a camera, all with the same instants.

    Raises:
        UserError: Calibration or tracking is missing or damaged, the head is not given, or no frame can be used.
    """
    head = flame_needed(head, folder, "FLAME 2023")
    place = _sequence_folder(folder)
    if place is None:
        raise UserError("there is no sequences/SEQUENCE/images here.", where=folder, hint="Give one sequence's folder.")
    person = place.parent.parent
    cameras, k = _calibration(person / "calibration" / "camera_params.json")
    identity, motion, scale, frames_skipped = _tracking(place / _TRACKING, head)
    skipped, videos, lengths = list(frames_skipped), {}, {}
    files = SetFolder(place)
    for serial in sorted(cameras):
        path = files.find(f"images/cam_{serial}.mp4")
        if path is None:
            missing = f"images/cam_{serial}.mp4"
            skipped.append(Skipped(f"cam_{serial}", "its video is missing", missing))
            continue
        cameras[serial][:3, 3] /= scale
        if not np.isfinite(cameras[serial].astype(np.float32)).all():
            skipped.append(Skipped(f"cam_{serial}", "its calibration holds a value that is not a finite number"))
            continue
        try:
            info = probe_video(path)
            lengths[serial] = info.frames or sum(1 for _ in read_video(path, keep_count=True))
            videos[serial] = (path, info)
        except UserError as error:
            skipped.append(Skipped(f"cam_{serial}", error.what))
    if not videos:
        raise nothing_left(place, skipped)
    common = min([*lengths.values(), len(motion)])
    for serial, length in lengths.items():
        if length > common:
            why = f"it has {length} frames, and only {common} are everywhere (in every camera and in the tracking)"
            skipped.append(Skipped(f"cam_{serial}", why))
    bad = {int(item.where) for item in frames_skipped if int(item.where) < common}
    kept = [instant for instant in range(common) if instant not in bad]
    if not kept:
        raise nothing_left(place, skipped)
    names = tuple(f"{instant:05d}" for instant in kept)
    sequences = []
    for serial, (path, info) in videos.items():
        factor = max(1, -(-min(info.width, info.height) // SIDE))
        camera = cameras[serial]
        intrinsics = k.copy()
        intrinsics[:2] /= factor
        source = {"layout": NAME, "subject": person.name, "sequence": place.name, "camera": serial, "scale": scale}
        sequences.append(
            TrackedSequence(
                head_edition=head.edition,
                identity=torch.from_numpy(identity).float(),
                motion=motion[torch.tensor(kept)],
                camera_from_world=torch.from_numpy(np.tile(camera, (len(kept), 1, 1))).float(),
                intrinsics=torch.from_numpy(np.tile(intrinsics, (len(kept), 1, 1))).float(),
                width=info.width // factor,
                height=info.height // factor,
                frame_rate=FRAME_RATE,
                names=names,
                expression_names=head.expression_names,
                source=source,
                frames=VideoFrames(path, dict(zip(names, kept, strict=True)), factor),
            )
        )
    labels = tuple(f"cam_{serial}" for serial in videos)
    warnings = ("the set's colour calibration is not applied.",)
    unmatted = (frozenset(names),) * len(sequences)
    return Reading(NAME, labels, tuple(sequences), tuple(skipped), warnings, unmatted)


def _sequence_folder(folder: Path) -> Path | None:
    if (folder / "images").is_dir() and folder.parent.name == "sequences":
        return folder
    if not (folder / "sequences").is_dir():
        return None
    inside = sorted(path for path in (folder / "sequences").iterdir() if (path / "images").is_dir())
    return inside[0] if len(inside) == 1 else None


def _calibration(path: Path) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    contents = read_json(path)
    try:
        k = numbers(contents["intrinsics"], 9).reshape(3, 3)
        cameras = {
            check_file_name(serial, path, "the name of a camera"): numbers(matrix, 16).reshape(4, 4)
            for serial, matrix in contents["world_2_cam"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"expected world_2_cam and intrinsics ({error}).", where=path) from None
    if not np.isfinite(k.astype(np.float32)).all() or not (np.diagonal(k)[:2] > 0).all():
        raise UserError("the intrinsics hold a value that is not a finite number, or no focal length.", where=path)
    return cameras, k


def _tracking(path: Path, head: Head) -> tuple[NDArray[np.float64], Motion, float, list[Skipped]]:
    """Identity, motion in metres of FLAME's own size, the world's units in such a metre, and unusable instants."""
    if not path.is_file():
        raise UserError(
            "this sequence has no FLAME tracking, so its motion is not known.",
            where=path,
            hint="Track it with VHAP and import that (layout vhap), or track one camera's video by itself.",
        )
    given = read_npz(path, _KEYS, LARGEST_TRACKING)
    absent = [key for key in _KEYS if key not in given]
    if absent:
        raise UserError(f"the array '{absent[0]}' is missing.", where=path)
    arrays = {key: numbers(given[key]) for key in _KEYS}
    count = len(given["expression"]) if given["expression"].ndim else 0
    widths = {"expression": None, "neck": 3, "jaw": 3, "eyes": 6, "rotation_matrices": 9, "translation": 3}
    for key, width in widths.items():
        if count == 0 or len(arrays[key]) % count or len(arrays[key]) // count != (width or len(arrays[key]) // count):
            expected = "as many numbers in each" if width is None else f"{width} numbers in each"
            raise UserError(
                f"the array '{key}' is {given[key].dtype} {given[key].shape}; expected {count} frames and {expected}.",
                where=path,
            )
    width = given["shape"].shape[-1] if given["shape"].ndim else 0
    identity, scale = arrays["shape"][:width], float(arrays["scale"][0]) if len(arrays["scale"]) else math.nan
    if not width or not np.isfinite(identity.astype(np.float32)).all() or not 0 < scale < math.inf:
        raise UserError("the arrays 'shape' or 'scale' hold no finite numbers.", where=path)
    per_frame = [arrays[key].reshape(count, -1).astype(np.float32) for key in widths if len(arrays[key])]
    turns = arrays["rotation_matrices"].reshape(count, 3, 3)
    usable = np.asarray(np.isfinite(np.concatenate(per_frame, 1)).all(1))
    # What is no rotation at all cannot be made one.
    usable &= np.linalg.det(np.where(usable[:, None, None], turns, np.eye(3))) > 0
    turns = np.where(usable[:, None, None], turns, np.eye(3))
    # The set turns the mesh about its origin, FLAME about the root joint.
    prepared = head.prepare_identity(torch.from_numpy(identity).float())
    root = prepared.joints[0].double().numpy()
    with np.errstate(all="ignore"):
        translation = np.nan_to_num(arrays["translation"].reshape(count, 3)) / scale + turns @ root - root
        usable &= np.isfinite(translation.astype(np.float32)).all(1) & np.isfinite(turns.astype(np.float32)).all((1, 2))
    translation = np.where(usable[:, None], translation, 0.0)
    skipped = [
        Skipped(f"{k}", "its tracking holds a value that is not a finite number") for k in np.flatnonzero(~usable)
    ]

    def tensor(values: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(np.nan_to_num(values)).float()

    rotation = np.stack([axis_angle(turn) for turn in turns])
    motion = Motion(
        expression=fitted_codes(tensor(arrays["expression"].reshape(count, -1)), head),
        global_rotation=tensor(rotation),
        neck_rotation=tensor(arrays["neck"].reshape(count, 3)),
        jaw_rotation=tensor(arrays["jaw"].reshape(count, 3)),
        eyes_rotation=tensor(arrays["eyes"].reshape(count, 6)),
        translation=tensor(translation),
        neck_translation=torch.zeros(count, 3),
    )
    return identity, motion, scale, skipped
