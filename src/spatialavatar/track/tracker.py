"""Photos or a video of one person in, a TrackedSequence out."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.files import new_folder_atomically, write_json
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.open_head import load_open_head
from spatialavatar.products import check_replaceable_folder
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.folder import REPORT_FILE, prepare_folder, save_frame, save_tables
from spatialavatar.sequence.media import is_video, media_of, not_usable
from spatialavatar.sequence.sequence import FolderFrames, MemoryFrames, TrackedSequence
from spatialavatar.track.body import world_motion
from spatialavatar.track.fit import fit_head, fit_steps
from spatialavatar.track.loss import FAST, FitConfig
from spatialavatar.track.model import face_model_of
from spatialavatar.track.observe import Observations, ObserveOptions, Store, observe_photos, observe_video
from spatialavatar.track.overlay import write_overlay
from spatialavatar.track.photometric import PhotometricConfig, fit_photometric, photometric_steps
from spatialavatar.track.report import accuracy, make_report
from spatialavatar.track.room import check_room
from spatialavatar.track.steady import picture_motion

MOST_PHOTOS = 16
_FRAMES_BEHIND = 8


def track(
    paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    head: Head | None = None,
    size: int = 512,
    crop: str = "auto",
    fast: bool = False,
    overwrite: bool = False,
    every: int = 1,
    max_frames: int | None = None,
    landmarker: str | os.PathLike[str] | None = None,
    focal: float | None = None,
    config: FitConfig | None = None,
    photometric: PhotometricConfig | bool | None = None,
    progress: Progress | None = None,
) -> TrackedSequence:
    """Track one person.

    Args:
        paths: A video, or one or more photos of one person.
        output: The tracked folder to write; without it frames are kept in memory.
        head: The head to fit; the open head by default.
        size: Side of the square frames in pixels.
        crop: "auto" (around the head, or the whole frame where it is square and the face large in it), "face"
            (around the head) or "none" (the centred square of the whole frame).
        fast: Fewer steps and identity components, and no photometric stage.
        overwrite: Replace an existing folder.
        every: Use every n-th frame of a video.
        max_frames: Use at most so many frames of a video.
        landmarker: A face_landmarker.task file, to use the newer of MediaPipe's interfaces.
        focal: Focal length over the longer side of the source's picture, where it is known; otherwise it is found out.
        config: The fit's weights and steps; overrides `fast`.
        photometric: Whether, or how, a video's tracking is improved by its pixels; by default it is, unless `fast`.
        progress: Where to show how far it is.

    Returns:
        The sequence; with `output`, its frames are read from there.

    Raises:
        UserError: An input cannot be used, or the folder cannot be written.
    """
    files = _files(paths)
    progress = progress or Silent()
    head = head or load_open_head()
    config = config or (FAST if fast else FitConfig())
    if focal is not None:
        config = replace(config, known_focal=focal)
    load_landmarks(head)  # Refuse a head that cannot be tracked before any work is done.
    with one_thread(), _destination(output, overwrite) as place:
        began = time.perf_counter()

        def expect(frames: int) -> None:
            said = check_room(frames, size, place.folder, output)
            if said is not None:
                progress.note(said)

        options = ObserveOptions(size, crop, every, max_frames, landmarker, expect)
        observations = _observe(files, options, place.store, progress)
        place.finish()
        observed_at = time.perf_counter()
        sequence = fit_sequence(observations, head, config, progress)
        fitted_at = time.perf_counter()
        source: dict[str, Any] = {"files": [file.name for file in files], "every": every, "crop": crop}
        sequence = replace(sequence, source=source, frames=place.frames, folder=place.folder)
        seconds = {"observe": observed_at - began, "fit": fitted_at - observed_at}
        pixels = _photometric_config(photometric, fast)
        if pixels is not None and config.known_focal:
            pixels = replace(pixels, known_lens=True)
        steps = photometric_steps(pixels, sequence) if pixels is not None else 0
        cuts = observations.cuts
        drift = picture_motion(sequence, load_landmarks(head), cuts) if steps > 0 else None
        stages = {"landmarks": accuracy(sequence, head, drift)}
        if pixels is not None and steps > 0:
            with progress.stage("Photometric fit", steps) as advance:
                sequence = fit_photometric(sequence, head, pixels, advance, cuts=cuts, drift=drift)
            seconds["photometric"] = time.perf_counter() - fitted_at
            stages["photometric"] = accuracy(sequence, head, drift)
        # What a pixel of the crop is in the source's: with it the focal length holds for other frames of this camera.
        longer = float(observations.image_sizes[0].max() * observations.scales[0])
        source["focal"] = round(float(sequence.intrinsics[0, 0, 0]) / longer, 5)
        sequence = replace(sequence, source=source)
        report = make_report(sequence, observations, head, config, seconds, stages, place.folder)
        if place.folder is not None:
            save_tables(sequence, place.folder)
            with progress.stage("Overlay", len(sequence)) as advance:
                write_overlay(sequence, head, load_landmarks(head), place.folder, advance)
            report["seconds"] = {**report["seconds"], "total": round(time.perf_counter() - began, 3)}
            write_json(place.folder / REPORT_FILE, report)
    for warning in report["warnings"]:
        progress.note(warning)
    if output is None:
        return sequence
    final = Path(output)
    return replace(sequence, folder=final, frames=FolderFrames(final))


def fit_sequence(
    observations: Observations, head: Head, config: FitConfig, progress: Progress | None = None
) -> TrackedSequence:
    """Fit a head to observations; the result carries no pixels."""
    progress = progress or Silent()
    model = face_model_of(head)
    with one_thread():
        with progress.stage("Fit", fit_steps(config, observations.kind)) as advance:
            fit = fit_head(model, observations, config, advance)
        motion, camera_from_world, intrinsics = world_motion(model, fit, observations)
    return TrackedSequence(
        head_edition=head.edition,
        identity=fit.unknowns.identity,
        motion=motion,
        camera_from_world=camera_from_world,
        intrinsics=intrinsics,
        width=observations.size,
        height=observations.size,
        frame_rate=observations.frame_rate,
        names=observations.names,
        kind=observations.kind,
        landmarks=torch.from_numpy(observations.landmarks[..., :2].copy()),
        valid=fit.observed,
        source_boxes=observations.source_boxes,
        expression_names=head.expression_names,
    )


@dataclass(frozen=True)
class _Place:
    """Where frames go: a folder that becomes visible at the end, or memory."""

    folder: Path | None
    store: Store
    finish: Callable[[], None]
    frames: FolderFrames | MemoryFrames


@contextlib.contextmanager
def _destination(output: str | os.PathLike[str] | None, overwrite: bool) -> Iterator[_Place]:
    if output is None:
        images: dict[str, NDArray[np.uint8]] = {}
        mattes: dict[str, NDArray[np.uint8]] = {}

        def keep(name: str, image: NDArray[np.uint8], matte: NDArray[np.uint8]) -> None:
            images[name], mattes[name] = image.copy(), matte

        yield _Place(None, keep, lambda: None, MemoryFrames(images, mattes))
        return
    if overwrite:
        check_replaceable_folder(Path(output), ())
    with new_folder_atomically(output, overwrite) as folder, ThreadPoolExecutor(1) as pool:
        prepare_folder(folder)
        writer = _Writer(folder, pool)
        yield _Place(folder, writer.store, writer.finish, FolderFrames(folder))


class _Writer:
    """Writes frames in a thread of its own, a few behind, while the next ones are looked at."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor):
        self._folder = folder
        self._pool = pool
        self._waiting: deque[Future[None]] = deque()

    def store(self, name: str, image: NDArray[np.uint8], matte: NDArray[np.uint8]) -> None:
        """Take a frame to write; what went wrong with an earlier one is raised here."""
        self._waiting.append(self._pool.submit(save_frame, self._folder, name, image, matte))
        while len(self._waiting) > _FRAMES_BEHIND:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Wait until everything is written."""
        while self._waiting:
            self._waiting.popleft().result()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch with one thread: the fit's tensors are so small that a pool's threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _files(paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str]) -> list[Path]:
    """The inputs: one video, or photos.

    Raises:
        UserError: There are none, too many, of unknown kind, or photos and videos together.
    """
    files = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(path) for path in paths]
    if not files:
        raise UserError("there is nothing to track.", hint="Give a video, or one to four photos of one person.")
    for file in files:
        if not file.exists():
            raise UserError("this file does not exist.", where=file, hint="Check the path.")
        media = media_of(file)
        if media.kind not in ("photo", "video"):
            raise not_usable(file, media, "a video or a photo")
    videos = [file for file in files if is_video(file)]
    if videos and len(files) > 1:
        raise UserError(
            f"one video or several photos are tracked together, found {len(videos)} videos in {len(files)} files.",
            where=videos[0],
            hint="Track each video by itself.",
        )
    if len(files) > MOST_PHOTOS:
        raise UserError(f"{len(files)} photos are too many, at most {MOST_PHOTOS} are tracked together.")
    return files


def _observe(files: list[Path], options: ObserveOptions, store: Store, progress: Progress) -> Observations:
    if is_video(files[0]):
        return observe_video(files[0], options, store, progress)
    return observe_photos(files, options, store, progress)


def _photometric_config(photometric: PhotometricConfig | bool | None, fast: bool) -> PhotometricConfig | None:
    if isinstance(photometric, PhotometricConfig):
        return photometric
    wanted = not fast if photometric is None else photometric
    return PhotometricConfig() if wanted else None
