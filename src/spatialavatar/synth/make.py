"""Sets of made-up people: what is in each, made in parallel, whole subject by whole subject."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.files import new_folder_atomically, only_one_makes, write_atomically, write_json
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.open_head import load_open_head
from spatialavatar.input_files import read_json
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.folder import prepare_folder, save_frame, save_tables
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.sets import MAKING_FILE, ONLY_CAMERA, SET_FILE, SET_FORMAT, SET_VERSION
from spatialavatar.splat.camera import Camera
from spatialavatar.unfinished import tidy

SetName = Literal["monocular", "multiview", "held_out"]
RECIPE = 3
"""Goes up whenever the same seed begins to give other pictures: sets of two recipes do not mix."""
_LANDMARKS = 478
_SHEET_SUBJECTS, _SHEET_FRAMES, _SHEET_SIDE = 8, 6, 128


@dataclass(frozen=True)
class SetPlan:
    """What a set consists of.

    name: "monocular" (one camera, talking), "multiview" (an arc of synchronised cameras) or "held_out" (people and
        lights that neither of the two has).
    subjects, frames, cameras: How many.
    size: Side of the pictures in pixels.
    frame_rate: Frames per second of performance; few, so that a short sequence holds different faces.
    seed: Everything hangs on it.
    samples: Samples along a pixel's side.
    """

    name: SetName
    subjects: int
    frames: int
    cameras: int
    size: int = 256
    frame_rate: float = 5.0
    seed: int = 0
    samples: int = 2

    def __post_init__(self) -> None:
        limits = {"subjects": (1, 100_000), "frames": (1, 10_000), "cameras": (1, 64), "size": (32, 2048)}
        limits |= {"seed": (0, 2**32 - 1), "samples": (1, 4)}
        for key, (least, most) in limits.items():
            if not least <= getattr(self, key) <= most:
                raise UserError(f"--{key} is {getattr(self, key)}; expected {least} to {most}.")
        if not 0.1 <= self.frame_rate <= 100:
            raise UserError(f"--frame-rate is {self.frame_rate}; expected 0.1 to 100 frames per second.")

    @property
    def camera_names(self) -> tuple[str, ...]:
        return (ONLY_CAMERA,) if self.cameras == 1 else tuple(f"camera_{k:02d}" for k in range(self.cameras))

    @property
    def subject_names(self) -> tuple[str, ...]:
        return tuple(f"person_{k:05d}" for k in range(self.subjects))

    def header(self) -> dict[str, Any]:
        """What set.json says."""
        return {
            "format": SET_FORMAT,
            "format_version": SET_VERSION,
            "made_by": "spatialavatar synth",
            "recipe": RECIPE,
            "name": self.name,
            "split": "held_out" if self.name == "held_out" else "train",
            "seed": self.seed,
            "frames": self.frames,
            "frame_rate": self.frame_rate,
            "size": self.size,
            "samples": self.samples,
            "head_edition": load_open_head().edition,
            "cameras": list(self.camera_names),
            "subjects": list(self.subject_names),
        }


DEFAULTS: dict[SetName, tuple[int, int, int]] = {
    "monocular": (200, 16, 1),
    "multiview": (17, 8, 16),
    "held_out": (16, 16, 1),
}
"""Subjects, frames and cameras of each set."""


def make_set(
    plan: SetPlan, root: Path, *, workers: int = 1, progress: Progress | None = None, sheet: bool = True
) -> Path:
    """Make a set, or what is missing of it. The same plan gives the same bytes, however many workers make it.

    Args:
        plan: What to make.
        root: The set's folder. Where it holds a set of the same plan but fewer subjects, the rest is added.
        workers: Processes; each needs about 0.5 GB.
        progress: Shows subjects.
        sheet: Whether to draw sheet.png, some people in some frames.

    Returns:
        `root`.

    Raises:
        UserError: The folder holds another set or something else, or cannot be written to.
    """
    progress = progress or Silent()
    if workers < 1:
        raise UserError(f"--workers is {workers}; expected at least 1.")
    if not root.parent.is_dir():
        raise UserError("the folder to write into does not exist.", where=root.parent, hint="Create it first.")
    with only_one_makes(root):
        return _make(plan, root, workers, progress, sheet)


def _make(plan: SetPlan, root: Path, workers: int, progress: Progress, sheet: bool) -> Path:
    header = _begin(plan, root)
    names = header["subjects"]
    missing = [index for index, name in enumerate(names) if not (root / name).is_dir()]
    if missing:
        with progress.stage("People", len(names)) as advance:
            advance(len(names) - len(missing))
            for index in _made(plan, root, missing, workers):
                advance(1, note=names[index])
    if sheet and (missing or not (root / "sheet.png").is_file()):
        _draw_sheet(root, header)
    if missing or not (root / SET_FILE).is_file():
        write_json(root / SET_FILE, header)
    (root / MAKING_FILE).unlink(missing_ok=True)
    return root


def make_subject(plan: SetPlan, root: Path, index: int) -> Path:
    """Make one subject's folder, whole or not at all."""
    from spatialavatar.synth.draw import draw
    from spatialavatar.synth.light import sample_light
    from spatialavatar.synth.model import build_model, pose_model
    from spatialavatar.synth.performance import perform
    from spatialavatar.synth.person import sample_person
    from spatialavatar.synth.stage import background, camera_arc, single_camera

    seed = (plan.seed, plan.name, index)
    head = load_open_head()
    person = sample_person(*seed)
    model = build_model(person)
    light = sample_light(*seed, held_out=plan.name == "held_out")
    motion = perform(head, np.arange(plan.frames) / plan.frame_rate, *seed)
    cameras = [single_camera(plan.size, *seed)] if plan.cameras == 1 else camera_arc(plan.cameras, plan.size)
    behind = [background(plan.size, *seed, name) for name in plan.camera_names]
    embedding = load_landmarks(head)
    frame_names = tuple(f"{k:05d}" for k in range(plan.frames))
    landmarks = torch.full((plan.cameras, plan.frames, _LANDMARKS, 2), float("nan"))
    final = root / plan.subject_names[index]
    with new_folder_atomically(final) as folder:
        for name in plan.camera_names:
            prepare_folder(folder / name)
        for k, frame in enumerate(frame_names):
            posed = pose_model(model, motion[k])
            bare = head.pose(model.prepared, motion[k])[0]
            points = embedding.points(bare, head.faces)
            for c, (name, camera) in enumerate(zip(plan.camera_names, cameras, strict=True)):
                drawn = draw(model, posed, light, camera, plan.samples)
                save_frame(folder / name, frame, drawn.over(behind[c]), drawn.matte())
                landmarks[c, k, embedding.indices] = _project(points, camera)
        for c, (name, camera) in enumerate(zip(plan.camera_names, cameras, strict=True)):
            sequence = TrackedSequence(
                head_edition=head.edition,
                identity=torch.tensor(person.identity),
                motion=motion,
                camera_from_world=camera.camera_from_world.expand(plan.frames, 4, 4).contiguous(),
                intrinsics=camera.intrinsics.expand(plan.frames, 3, 3).contiguous(),
                width=plan.size,
                height=plan.size,
                frame_rate=plan.frame_rate,
                names=frame_names,
                landmarks=landmarks[c],
                expression_names=head.expression_names,
                source={"made_up": True, "set": plan.name, "seed": plan.seed, "recipe": RECIPE, "person": index},
            )
            save_tables(sequence, folder / name)
        lamps = [{"direction": lamp.direction.tolist(), "softness": lamp.softness} for lamp in light.lamps]
        write_json(folder / "person.json", {**person.summary(), "lamps": lamps})
    return final


def _project(points: torch.Tensor, camera: Camera) -> torch.Tensor:
    """(L, 3) world points to (L, 2) pixels."""
    seen = points @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    flat = seen @ camera.intrinsics.T
    return flat[:, :2] / flat[:, 2:]


def _begin(plan: SetPlan, root: Path) -> dict[str, Any]:
    """The header of the set to make; checks what is there already and notes that the set is being made."""
    header = plan.header()
    have: dict[str, Any] | None = None
    for name in (SET_FILE, MAKING_FILE):
        if (root / name).is_file():
            have = read_json(root / name)
            break
    if have is not None:
        _check_same(have, header, root)
        if len(have["subjects"]) > len(header["subjects"]):
            header = have
    elif root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(
            "this is something else than a set of made-up people.", where=root, hint="Give a new folder with -o."
        )
    root.mkdir(exist_ok=True)
    if have is None or header["subjects"] != have["subjects"]:
        write_json(root / MAKING_FILE, header)
        (root / SET_FILE).unlink(missing_ok=True)
    tidy(root)
    if (root / MAKING_FILE).is_file():
        _remove_unfinished(root)
    return header


def _remove_unfinished(root: Path) -> None:
    """What a stopped run left half-written; its names begin with a dot, so nobody has taken it for a subject."""
    for left in root.glob(".person_*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _check_same(have: Any, wanted: dict[str, Any], root: Path) -> None:
    if not isinstance(have, dict) or have.get("format") != SET_FORMAT:
        raise UserError("this folder holds something else.", where=root, hint="Give a new folder with -o.")
    for key, value in wanted.items():
        if key != "subjects" and have.get(key) != value:
            raise UserError(
                f"this folder holds another set: its {key} is {have.get(key)!r}, wanted {value!r}.",
                where=root,
                hint="Use the same options to go on with it, or give a new folder with -o.",
            )


def _made(plan: SetPlan, root: Path, indices: list[int], workers: int) -> Iterator[int]:
    """Make these subjects in processes of their own; yields each when it is there."""
    before = set(multiprocessing.active_children())
    with single_threaded():
        pool = ProcessPoolExecutor(
            min(workers, len(indices)), multiprocessing.get_context("spawn"), initializer=_start_worker
        )
        try:
            futures = {pool.submit(make_subject, plan, root, index): index for index in indices}
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BaseException:
            # Who stops a run does not want to wait for the people in the making.
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
                process.join()
            _remove_unfinished(root)
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def single_threaded() -> Iterator[None]:
    """New processes keep to one thread each: parallel subjects are faster, and sums have one order."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_worker() -> None:
    torch.set_num_threads(1)


def _draw_sheet(root: Path, header: dict[str, Any]) -> None:
    """sheet.png: some people, a row each, in some frames or from some cameras."""
    subjects = [header["subjects"][k] for k in _spread(len(header["subjects"]), _SHEET_SUBJECTS)]
    cameras, frames = header["cameras"], header["frames"]
    shown = [(camera, frame) for camera in cameras for frame in range(frames)]
    if len(cameras) > 1:
        shown = [(camera, (5 * k) % frames) for k, camera in enumerate(cameras)]
    shown = [shown[k] for k in _spread(len(shown), _SHEET_FRAMES)]
    sheet = Image.new("RGB", (len(shown) * _SHEET_SIDE, len(subjects) * _SHEET_SIDE))
    for row, subject in enumerate(subjects):
        for column, (camera, frame) in enumerate(shown):
            with Image.open(root / subject / camera / "images" / f"{frame:05d}.png") as picture:
                small = picture.resize((_SHEET_SIDE, _SHEET_SIDE), Image.Resampling.BOX)
            sheet.paste(small, (column * _SHEET_SIDE, row * _SHEET_SIDE))
    with write_atomically(root / "sheet.png") as temporary:
        sheet.save(temporary)


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spread."""
    return sorted({round(k) for k in np.linspace(0, count - 1, min(count, most))})
