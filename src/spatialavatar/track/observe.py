"""From photos or a video to what the fit needs: landmarks, crops, mattes, outlines; frames are stored on the way.

A video is decoded twice, once for landmarks and once for the pixels of the crops, so that crops can be chosen knowing
all frames and memory does not grow with the video's length.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.progress import Progress
from spatialavatar.sequence.photo import read_photo
from spatialavatar.sequence.video import probe_video, read_video
from spatialavatar.track.crop import Crops, choose_crops, cut, source_boxes
from spatialavatar.track.cuts import CutFinder
from spatialavatar.track.faces import LEFT_IRIS, RIGHT_IRIS, Face, MediaPipeDetector, open_finder
from spatialavatar.track.follow import FaceFollower, Tally, find_in_photo
from spatialavatar.track.matte import Segmenter, median_of_three, refine_matte
from spatialavatar.track.outline import matte_contour, padded_contour
from spatialavatar.track.torso import torso_view

Store = Callable[[str, NDArray[np.uint8], NDArray[np.uint8]], None]
"""store(name, image (H, W, 3) uint8, matte (H, W) uint8)"""

# Height of the landmarks' box in source pixels: below the first there is nothing to fit, below the second it is soft.
LEAST_FACE, SOFT_FACE = 48, 120
_LONGEST_GAP_SECONDS = 0.5
# The hair's top is looked for in so many frames, or so far apart where the video does not say how long it is.
_HAIR_SAMPLES, _HAIR_INTERVAL = 6, 25


@dataclass(frozen=True)
class Observations:
    """T frames as seen; every length in pixels of the crop unless it says otherwise.

    Attributes:
        kind: "video" or "photos".
        names: T names.
        size: Side of the crops.
        frame_rate: Frames per second; 0 for photos.
        landmarks: (T, 478, 3), NaN where no face was seen.
        contours: (T, C, 6) points on the mattes' edges, see `outline.matte_contour`; NaN rows beyond their number.
        torsos: T small views of the torso for `torso.torso_motion`.
        crops: Where the crops lie, per frame.
        image_sizes: (T, 2) width and height of the source images in their own pixels.
        warnings: Sentences for people.
        people: Most faces of comparable size seen at once.
        cuts: The first frames after cuts.
    """

    kind: Literal["video", "photos"]
    names: tuple[str, ...]
    size: int
    frame_rate: float
    landmarks: NDArray[np.float32]
    contours: NDArray[np.float32]
    torsos: tuple[NDArray[np.uint8], ...]
    corners: NDArray[np.float64]
    scales: NDArray[np.float64]
    image_sizes: NDArray[np.float64]
    warnings: tuple[str, ...]
    people: int = 1
    cuts: tuple[int, ...] = ()

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(T,) whether the frame has a face."""
        return np.isfinite(self.landmarks[:, 0, 0])

    @property
    def source_boxes(self) -> Tensor | None:
        """(T, 4) left, top, right and bottom of the source's picture in the crops; None where it fills them all."""
        boxes = source_boxes(self.corners, self.scales, self.image_sizes)
        everywhere = (boxes[:, :2] <= 0).all() and (boxes[:, 2:] >= self.size).all()
        return None if everywhere else torch.from_numpy(boxes).float()

    @property
    def inter_ocular(self) -> NDArray[np.float32]:
        """(T,) distance of the iris centres."""
        between = self.landmarks[:, RIGHT_IRIS, :2] - self.landmarks[:, LEFT_IRIS, :2]
        return np.linalg.norm(between, axis=1).astype(np.float32)


@dataclass(frozen=True)
class ObserveOptions:
    """How to look.

    Attributes:
        size: Side of the crops in pixels.
        crop: "auto", "face" or "none"; see `crop.choose_crops`.
        every: Use every n-th frame of a video.
        max_frames: Use at most so many frames of a video.
        landmarker: A face_landmarker.task file, for the newer of MediaPipe's interfaces.
    """

    size: int = 512
    crop: str = "auto"
    every: int = 1
    max_frames: int | None = None
    landmarker: str | os.PathLike[str] | None = None


def observe_video(path: Path, options: ObserveOptions, store: Store, progress: Progress) -> Observations:
    """Look at every frame of a video.

    Raises:
        UserError: It cannot be read, or no face in it can be tracked.
    """
    info = probe_video(path)
    rate = info.frame_rate / options.every
    warnings: list[str] = []
    finder, detector, segmenter = open_finder(still=False, model=options.landmarker), MediaPipeDetector(), Segmenter()
    try:
        expected = _expected_frames(info.frames, options)
        look_for_hair = max(1, (expected or _HAIR_INTERVAL * _HAIR_SAMPLES) // _HAIR_SAMPLES)
        follower, cut_finder, cuts = FaceFollower(finder, detector), CutFinder(), []
        faces: list[Face | None] = []
        tops: list[float] = []
        with progress.stage("Landmarks", expected) as advance:
            for frame in _frames(path, options, warnings.append):
                cut = cut_finder.step(frame)
                if cut:
                    cuts.append(len(faces))
                face = follower.step(frame, cut)
                looked_at = face is not None and len(faces) % look_for_hair == 0
                tops.append(_hair_top(frame, segmenter, face) if looked_at and face is not None else float("nan"))
                faces.append(face)
                advance()
        refuse_unusable(faces, follower.tally, path, "video")
        warnings += face_warnings(faces, follower.tally, rate, path) + cut_warnings(tuple(cuts), rate, path)
        boxes = np.array([_box(face) for face in faces])
        size = (info.width, info.height)
        crops = choose_crops(
            boxes,
            size,
            options.size,
            frame_rate=rate,
            hair_tops=np.array(tops),
            mode=options.crop,
            cuts=tuple(cuts),
        )
        landmarks = np.stack([_cropped_points(face, crops, k) for k, face in enumerate(faces)])
        with progress.stage("Mattes", len(faces)) as advance:
            frames = _frames(path, options, lambda _: None)
            contours, torsos = _mattes(frames, crops, landmarks, segmenter, store, advance, tuple(cuts))
    finally:
        finder.close()
        detector.close()
        segmenter.close()
    count = len(faces)
    return Observations(
        kind="video",
        names=tuple(f"{k:05d}" for k in range(count)),
        size=options.size,
        frame_rate=rate,
        landmarks=landmarks,
        contours=contours,
        torsos=torsos,
        corners=crops.corners,
        scales=crops.scales,
        image_sizes=np.repeat(np.array([[info.width, info.height]], np.float64), count, 0),
        warnings=tuple(warnings),
        people=follower.tally.several,
        cuts=tuple(cuts),
    )


def observe_photos(paths: list[Path], options: ObserveOptions, store: Store, progress: Progress) -> Observations:
    """Look at photos of one person.

    Raises:
        UserError: One cannot be read, or has no face that can be tracked.
    """
    finder, detector, segmenter = open_finder(still=True, model=options.landmarker), MediaPipeDetector(), Segmenter()
    warnings: list[str] = []
    people = 1
    landmarks, contours, torsos, corners, scales, sizes, names = [], [], [], [], [], [], []
    try:
        with progress.stage("Landmarks and mattes", len(paths)) as advance:
            for k, path in enumerate(paths):
                image = read_photo(path)
                face, tally = find_in_photo(image, finder, detector)
                refuse_unusable([face], tally, path, "photo")
                warnings += face_warnings([face], tally, 0.0, path)
                assert face is not None
                people = max(people, tally.several)
                size = (image.shape[1], image.shape[0])
                box = np.array([_box(face)])
                top = _hair_top(image, segmenter, face)
                crops = choose_crops(
                    box, size, options.size, frame_rate=0.0, hair_tops=np.array([top]), mode=options.crop
                )
                points = _cropped_points(face, crops, 0)[None]

                def keep(_: str, pixels: NDArray[np.uint8], matte: NDArray[np.uint8], name: str = f"{k:05d}") -> None:
                    store(name, pixels, matte)

                contour, torso = _mattes(iter([image]), crops, points, segmenter, keep, lambda: None)
                landmarks.append(points[0])
                contours.append(contour[0])
                torsos.append(torso[0])
                corners.append(crops.corners[0])
                scales.append(crops.scales[0])
                sizes.append(size)
                names.append(f"{k:05d}")
                advance()
    finally:
        finder.close()
        detector.close()
        segmenter.close()
    return Observations(
        kind="photos",
        names=tuple(names),
        size=options.size,
        frame_rate=0.0,
        landmarks=np.stack(landmarks),
        contours=np.stack(contours),
        torsos=tuple(torsos),
        corners=np.stack(corners),
        scales=np.array(scales),
        image_sizes=np.array(sizes, np.float64),
        warnings=tuple(warnings),
        people=people,
    )


def refuse_unusable(faces: list[Face | None], tally: Tally, path: Path, kind: str) -> None:
    """Raise the one message that fits when no face can be tracked.

    Raises:
        UserError: No face, only profiles, or a face of too few pixels.
    """
    seen = [face for face in faces if face is not None]
    if not seen:
        if tally.profiles or tally.detected:
            raise UserError(
                f"the face in this {kind} is seen only from the side, or is covered.",
                where=path,
                hint="Both eyes must be seen: use one that looks at the camera within about 60 degrees.",
            )
        raise UserError(
            f"no face is found in this {kind}.",
            where=path,
            hint="Use one that shows a person's face from the front, upright and well lit.",
        )
    height = float(np.median([face.box.height for face in seen]))
    if height < LEAST_FACE:
        raise UserError(
            f"the face is too small: {height:.0f} pixels from brow to chin, at least {LEAST_FACE} are needed.",
            where=path,
            hint=f"Use a closer {kind}, or one of higher resolution; {SOFT_FACE * 2} pixels and more look good.",
        )


def face_warnings(faces: list[Face | None], tally: Tally, frame_rate: float, path: Path) -> list[str]:
    """What a person should know about faces that can be tracked, one sentence each."""
    warnings = []
    if tally.several > 1:
        warnings.append(f"{path.name} shows {tally.several} faces; the largest is used.")
    seen = [face for face in faces if face is not None]
    height = float(np.median([face.box.height for face in seen]))
    if height < SOFT_FACE:
        warnings.append(f"The face in {path.name} is small ({height:.0f} pixels from brow to chin) and will be soft.")
    missing = len(faces) - len(seen)
    if missing:
        longest = _longest_gap([face is None for face in faces])
        text = f"{missing} of {len(faces)} frames show no face that can be tracked; their motion is filled in"
        seconds = longest / frame_rate if frame_rate else 0.0
        text += f" (longest gap {seconds:.1f} s)." if seconds > _LONGEST_GAP_SECONDS else "."
        warnings.append(text)
    if tally.returns and frame_rate:
        times = ", ".join(f"{index / frame_rate:.1f} s" for index in tally.returns[:5])
        warnings.append(f"The face was gone for long and one is followed again at {times}: see that it is the same.")
    if tally.others:
        warnings.append(f"Another face was seen beside the followed one, or in its place, in {tally.others} frames.")
    return warnings


def cut_warnings(cuts: tuple[int, ...], frame_rate: float, path: Path) -> list[str]:
    """What a person should know about cuts."""
    if not cuts:
        return []
    times = ", ".join(f"{index / frame_rate:.1f} s" for index in cuts[:5]) + (", ..." if len(cuts) > 5 else "")
    return [f"{path.name} is cut at {times}: every shot is tracked, so all of them must show the same person."]


def _expected_frames(announced: int, options: ObserveOptions) -> int | None:
    if not announced:
        return options.max_frames
    count = -(-announced // options.every)
    return count if options.max_frames is None else min(count, options.max_frames)


def _frames(path: Path, options: ObserveOptions, warn: Callable[[str], None]) -> Iterator[NDArray[np.uint8]]:
    for frame in read_video(path, every=options.every, max_frames=options.max_frames, warn=warn):
        yield frame.image


def _longest_gap(missing: list[bool]) -> int:
    longest = run = 0
    for value in missing:
        run = run + 1 if value else 0
        longest = max(longest, run)
    return longest


def _box(face: Face | None) -> tuple[float, float, float, float]:
    if face is None:
        return (np.nan,) * 4
    box = face.box
    return box.left, box.top, box.right, box.bottom


def _cropped_points(face: Face | None, crops: Crops, index: int) -> NDArray[np.float32]:
    if face is None:
        return np.full((478, 3), np.nan, np.float32)
    depth = face.points[:, 2:] * crops.scales[index]
    return np.concatenate([crops.apply(face.points[:, :2], index), depth], 1).astype(np.float32)


def _hair_top(image: NDArray[np.uint8], segmenter: Segmenter, face: Face) -> float:
    """Row of the top of the subject above the face, in source pixels; NaN where nothing of it is seen."""
    size = (image.shape[1], image.shape[0])
    crops = choose_crops(np.array([_box(face)]), size, 256, frame_rate=0.0, mode="face")
    # A wider view than the crop, or hair that leaves it could not be seen.
    wide = Crops(crops.corners - crops.sides[:, None] * 0.25, crops.sides * 1.5, 256)
    pixels, inside = cut(image, wide, 0)
    probability = segmenter.probability(pixels)
    if inside is not None:
        probability = probability * inside
    left, right = (wide.apply(np.array([[x, 0.0]], np.float32), 0)[0, 0] for x in (face.box.left, face.box.right))
    columns = probability[:, max(int(left), 0) : max(int(right), 1)]
    rows = np.flatnonzero((columns > 0.5).mean(1) > 0.1)
    if not len(rows):
        return float("nan")
    return float(wide.corners[0, 1] + rows[0] / wide.scales[0])


def _mattes(
    frames: Iterator[NDArray[np.uint8]],
    crops: Crops,
    landmarks: NDArray[np.float32],
    segmenter: Segmenter,
    store: Store,
    advance: Callable[..., None],
    cuts: tuple[int, ...] = (),
) -> tuple[NDArray[np.float32], tuple[NDArray[np.uint8], ...]]:
    """Cut, matte and store every frame; returns the mattes' contours and the torso views."""
    held: list[tuple[NDArray[np.uint8], NDArray[np.bool_] | None]] = []
    filled = _hold_landmarks(landmarks)

    def probabilities() -> Iterator[NDArray[np.float32]]:
        for k, image in enumerate(frames):
            if k >= len(landmarks):
                return
            pixels, inside = cut(image, crops, k)
            held.append((pixels, inside))
            yield segmenter.probability(pixels)

    contours: list[NDArray[np.float32]] = []
    torsos: list[NDArray[np.uint8]] = []
    for k, probability in enumerate(median_of_three(probabilities(), cuts)):
        pixels, inside = held.pop(0)
        points = filled[k, :468, :2]
        matte = refine_matte(pixels, probability, (float(points[:, 0].mean()), float(points[:, 1].mean())), inside)
        store(f"{k:05d}", pixels, matte)
        contours.append(padded_contour(matte_contour(pixels, matte, filled[k, :, :2], inside)))
        torsos.append(torso_view(pixels, matte, filled[k, :, :2], inside))
        advance()
    return np.stack(contours), tuple(torsos)


def _hold_landmarks(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """NaN frames replaced by the nearest frame that has a face."""
    seen = np.flatnonzero(np.isfinite(landmarks[:, 0, 0]))
    nearest = seen[np.abs(np.arange(len(landmarks))[:, None] - seen).argmin(1)]
    return landmarks[nearest]
