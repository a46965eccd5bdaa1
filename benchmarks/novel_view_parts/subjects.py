"""Made-up people before synchronised cameras: pictures, mattes, motion and cameras, all true, kept on disk."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from spatialavatar.avatar.framing import head_centers, head_rotation
from spatialavatar.files import write_json
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.input_files import read_json
from spatialavatar.sequence.folder import prepare_folder, read_sequence, save_frame, save_image, save_tables
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import project
from spatialavatar.sequence.video import write_video
from spatialavatar.splat.camera import Camera
from spatialavatar.synth.draw import draw
from spatialavatar.synth.light import Light, sample_light
from spatialavatar.synth.make import single_threaded
from spatialavatar.synth.model import Model, build_model, pose_model
from spatialavatar.synth.performance import perform
from spatialavatar.synth.person import sample_person
from spatialavatar.synth.stage import background

from .people import FILMED, FRAME_RATE, FRAMES, INSTANTS, RECIPE, ROUND, SCORED, SIZE, Person, cameras_of, filmed_focal
from .steps import code_key, key_of, made_folder

LANDMARKS = 478
VIDEO, PHOTO, FACTS = "filmed.mp4", "photo.png", "person.json"


@dataclass(frozen=True)
class Subject:
    """One person on disk.

    folder: Holds a tracked folder for each camera, the filmed video and one of its frames as a photo.
    photo_frame: Which frame that is: the one in which the head looks most straight into the filmed camera.
    """

    person: Person
    folder: Path
    photo_frame: int

    @property
    def instants(self) -> tuple[int, ...]:
        """Frames of the video that the other cameras have too."""
        return instants_with(self.photo_frame)

    def filmed(self) -> TrackedSequence:
        """The filmed camera's frames, with their true motion."""
        return read_sequence(self.folder / FILMED)

    def seen_by(self, camera: str) -> TrackedSequence:
        """What one of the cameras that are scored sees at the instants, over white."""
        return read_sequence(self.folder / camera)

    @property
    def key(self) -> str:
        return self.folder.name


def instants_with(photo_frame: int) -> tuple[int, ...]:
    return tuple(sorted({*INSTANTS, photo_frame}))


def subject_of(person: Person, work: Path, processes: int = 2) -> Subject:
    """The person's pictures, drawn where they are not there yet."""
    code = code_key("synth", "head", "sequence", "random_streams")
    key = key_of(RECIPE, person.seed, person.turn_degrees, ROUND, INSTANTS, code)
    folder = made_folder(work / "subjects" / f"{person.name}-{key}", lambda place: _make(person, place, processes))
    return Subject(person, folder, int(read_json(folder / FACTS)["photo_frame"]))


def motion_of(person: Person, head: Head) -> Motion:
    times = np.arange(FRAMES) / FRAME_RATE
    return perform(head, times, *person.seed, turn=float(np.radians(person.turn_degrees)))


def most_frontal(motion: Motion, centers: torch.Tensor, camera: Camera) -> int:
    """The frame in which the head looks most straight into the camera, its eyes not shut."""
    forward = head_rotation(motion)[:, :, 2]
    towards = camera.position - centers
    straight = (forward * towards / towards.norm(dim=-1, keepdim=True)).sum(-1)
    names = load_open_head().expression_names
    lids = motion.expression[:, [names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]].amax(1)
    return int(torch.where(lids < 0.5, straight, -1.0).argmax())


def _make(person: Person, folder: Path, processes: int) -> None:
    head = load_open_head()
    motion = motion_of(person, head)
    cameras = cameras_of(person)
    identity = torch.tensor(sample_person(*person.seed).identity)
    photo = most_frontal(motion, head_centers(head, identity, motion), cameras[FILMED])
    instants = instants_with(photo)
    for name in (FILMED, *SCORED):
        prepare_folder(folder / name)
    # Half of all pictures belong to a fourteenth of the frames: taking turns gives every process its share.
    order = [*instants, *(frame for frame in range(FRAMES) if frame not in instants)]
    with (
        single_threaded(),
        ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_start_worker) as pool,
    ):
        try:
            parts = [pool.submit(_draw, person, folder, order[k::processes], instants) for k in range(processes)]
            for part in parts:
                part.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _save_tables(person, head, motion, cameras, identity, instants, folder)
    filmed = read_sequence(folder / FILMED)
    write_video(folder / VIDEO, (filmed.image(frame).numpy() for frame in range(FRAMES)), FRAME_RATE, quality=16)
    save_image(filmed.image(photo).numpy(), folder / PHOTO)
    facts = {
        "name": person.name,
        "turn_degrees": person.turn_degrees,
        "focal": filmed_focal(person),
        "photo_frame": photo,
        **sample_person(*person.seed).summary(),
    }
    write_json(folder / FACTS, facts)


def _start_worker() -> None:
    torch.set_num_threads(1)


@lru_cache(maxsize=1)
def _model_of(person: Person) -> tuple[Model, Light]:
    return build_model(sample_person(*person.seed)), sample_light(*person.seed)


def _draw(person: Person, folder: Path, frames: Sequence[int], instants: Sequence[int]) -> None:
    """Draw some frames of the filmed camera, and of the others where all are wanted."""
    model, light = _model_of(person)
    motion = motion_of(person, load_open_head())
    cameras = cameras_of(person)
    behind = dict.fromkeys(SCORED, np.ones((SIZE, SIZE, 3), np.float32))
    behind[FILMED] = background(SIZE, *person.seed, FILMED)
    for frame in frames:
        posed = pose_model(model, motion[frame])
        for name in cameras if frame in instants else (FILMED,):
            drawn = draw(model, posed, light, cameras[name])
            save_frame(folder / name, f"{frame:05d}", drawn.over(behind[name]), drawn.matte())


def _save_tables(
    person: Person,
    head: Head,
    motion: Motion,
    cameras: dict[str, Camera],
    identity: torch.Tensor,
    instants: Sequence[int],
    folder: Path,
) -> None:
    embedding = load_landmarks(head)
    everything = TrackedSequence(
        head_edition=head.edition,
        identity=identity,
        motion=motion,
        camera_from_world=cameras[FILMED].camera_from_world.expand(FRAMES, 4, 4).contiguous(),
        intrinsics=cameras[FILMED].intrinsics.expand(FRAMES, 3, 3).contiguous(),
        width=SIZE,
        height=SIZE,
        frame_rate=FRAME_RATE,
        names=tuple(f"{frame:05d}" for frame in range(FRAMES)),
        expression_names=head.expression_names,
        source={"made_up": True, "set": "novel_views", "recipe": RECIPE, "person": person.name},
    )
    points = embedding.points(head.pose(identity, motion), head.faces)
    for name, camera in cameras.items():
        seen = replace(
            everything,
            camera_from_world=camera.camera_from_world.expand(FRAMES, 4, 4).contiguous(),
            intrinsics=camera.intrinsics.expand(FRAMES, 3, 3).contiguous(),
        )
        landmarks = torch.full((FRAMES, LANDMARKS, 2), float("nan"))
        landmarks[:, embedding.indices] = project(points, seen.camera_from_world, seen.intrinsics)[0]
        seen = replace(seen, landmarks=landmarks)
        save_tables(seen if name == FILMED else seen.select(instants), folder / name)
