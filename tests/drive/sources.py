"""Small sound files of every kind that a motion is read from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from spatialavatar.drive.motion_file import write_motion
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.export.motion import LIVE_LINK_FACE_TITLES, time_code, write_arkit_csv, write_flame_npz
from spatialavatar.head.motion import Motion

FRAMES = 12


def sound_recording(frames: int = FRAMES, frame_rate: float = 30.0, seed: int = 0) -> Recording:
    """A take with every part moving a little."""
    chance = torch.Generator().manual_seed(seed)
    motion = Motion.neutral(frames, len(ARKIT_NAMES))
    motion = Motion(
        expression=torch.rand(frames, len(ARKIT_NAMES), generator=chance),
        global_rotation=motion.global_rotation,
        neck_rotation=0.2 * torch.randn(frames, 3, generator=chance),
        jaw_rotation=motion.jaw_rotation,
        eyes_rotation=0.1 * torch.randn(frames, 6, generator=chance) * torch.tensor([1.0, 1.0, 0.0] * 2),
        translation=motion.translation,
        neck_translation=motion.neck_translation,
    )
    return Recording(motion, ARKIT_NAMES, frame_rate, None, Motion.neutral(1, len(ARKIT_NAMES)), "sound")


def weight(recording: Recording, name: str) -> torch.Tensor:
    """(T,) one expression of a recording."""
    return recording.motion.expression[:, recording.expression_names.index(name)]


def live_link_table(path: Path, rows: list[dict[str, float | str]], delimiter: str = ",") -> Path:
    """A file as the app writes it: 61 values a row, timecode and count before them, 60 rows a second."""
    lines = [delimiter.join(LIVE_LINK_FACE_TITLES)]
    for index, row in enumerate(rows):
        cells = [f"10:20:{index // 60:02d}:{index % 60:02d}.169", "61"]
        cells += [str(row.get(title, 0.0)) for title in LIVE_LINK_FACE_TITLES[2:]]
        lines.append(delimiter.join(cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def stamped_table(
    path: Path,
    stamps: list[str],
    jaw: list[float] | np.ndarray,
    title: str = "Timecode",
    others: dict[str, list[float] | np.ndarray] | None = None,
) -> Path:
    """A table of time stamps, jawOpen, and other columns."""
    columns = {"JawOpen": jaw, **(others or {})}
    rows = [",".join([stamp, *(f"{column[i]:.6f}" for column in columns.values())]) for i, stamp in enumerate(stamps)]
    path.write_text("\n".join([",".join([title, *columns]), *rows]) + "\n")
    return path


def write_arkit_arrays(path: Path) -> None:
    values = np.random.default_rng(0).random((FRAMES, 52), np.float32)
    np.savez(path, weights=values, head_angles=0.2 * values[:, :3], eye_angles=0.1 * values[:, :4], frame_rate=30.0)


def write_audio2face(path: Path) -> None:
    weights = np.random.default_rng(0).random((FRAMES, 52)).round(5)
    content = {"exportFps": 60.0, "numPoses": 52, "numFrames": FRAMES, "facsNames": list(ARKIT_NAMES)}
    path.write_text(json.dumps({**content, "weightMat": weights.tolist()}))


def write_audio2face_table(path: Path) -> None:
    weights = np.random.default_rng(0).random((FRAMES, 52))
    lines = [",timeCode," + ",".join(f"blendShapes.{title}" for title in LIVE_LINK_FACE_TITLES[2:54])]
    lines += [f"{i},{i / 30:.6f}," + ",".join(f"{weight:.6f}" for weight in row) for i, row in enumerate(weights)]
    path.write_text("\n".join(lines) + "\n")


def ifacialmocap_line(
    weights: dict[str, int], head: str = "0,0,0,0,0,0", right: str = "0,0,0", left: str = "0,0,0"
) -> str:
    """A line as the app streams it."""
    shapes = "|".join(f"{name}-{value}" for name, value in weights.items())
    return f"{shapes}|=head#{head}|rightEye#{right}|leftEye#{left}|"


def write_ifacialmocap(path: Path) -> None:
    lines = [
        f"{time_code(i / 30)} "
        + ifacialmocap_line({"jawOpen": 5 * i, "eyeBlink_L": i, "mouthSmile_R": 10}, f"{i},2.5,-1.25,0.01,0.02,-0.5")
        for i in range(FRAMES)
    ]
    path.write_text("\n".join(lines) + "\n")


def write_stamped(path: Path) -> None:
    """Rows 0.1 s apart with a gap, in milliseconds."""
    times = [33 * i for i in range(20)] + [2000 + 33 * i for i in range(20)]
    stamped_table(path, [str(time) for time in times], np.linspace(0, 1, 40), "timestamp_ms")


SOURCES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "live_link_face": ("take.csv", lambda path: write_arkit_csv(sound_recording(), path)),
    "gaps": ("gaps.csv", write_stamped),
    "audio2face_table": ("a2f.csv", write_audio2face_table),
    "audio2face": ("a2f.json", write_audio2face),
    "ifacialmocap": ("lines.txt", write_ifacialmocap),
    "arkit_npz": ("take.npz", write_arkit_arrays),
    "flame_npz": ("take.flame.npz", lambda path: write_flame_npz(sound_recording(), path)),
    "motion_file": ("take.motion.safetensors", lambda path: write_motion(sound_recording(), path)),
}
"""Kind of file -> a name and who writes it."""
