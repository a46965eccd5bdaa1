"""From photos or a video to what the fit needs: landmarks, crops, mattes, outlines; frames are stored on the way.

A video is decoded twice, once for landmarks and once for the pixels of the crops, so that crops can be chosen knowing
all frames and memory does not grow with the video's length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spatialavatar.progress import Progress
from spatialavatar.sequence.photo import open_photo
from spatialavatar.sequence.pictures import MOST_PIXELS
from spatialavatar.sequence.video import probe_video, read_video
from spatialavatar.track.crop import Crops, choose_crops, cut
from spatialavatar.track.cuts import CutFinder, nearest_of
from spatialavatar.track.face_messages import cut_warnings as cut_warnings
from spatialavatar.track.face_messages import face_warnings as face_warnings
from spatialavatar.track.face_messages import refuse_unusable as refuse_unusable
from spatialavatar.track.faces import (
    Face,
    FaceDetector,
    LandmarkFinder,
    MediaPipeDetector,
    open_finder,
)
from spatialavatar.track.follow import FaceFollower, Tally, find_in_photo
from spatialavatar.track.matte import Segmenter, median_of_three, refine_matte
from spatialavatar.track.observations import Observations as Observations
from spatialavatar.track.observations import ObserveOptions as ObserveOptions
from spatialavatar.track.outline import matte_contour, padded_contour
from spatialavatar.track.torso import KeptViews, torso_view
from spatialavatar.track.upright import Upright, find_upright, turned

Store = Callable[[str, NDArray[np.uint8], NDArray[np.uint8]], None]
"""store(name, image (H, W, 3) uint8, matte (H, W) uint8)"""

_WORKING_PIXELS = 1 << 24
"""16.8 million, of which a photo is looked at: all of a phone's usual 12; larger ones take seconds in every step."""
_UPRIGHT_SAMPLES = 40
"""Frames, half a second apart, of which the first three with a face say which way up a video is."""
# The hair's top is looked for in so many frames, or so far apart where the video does not say how long it is.
_HAIR_SAMPLES, _HAIR_INTERVAL = 6, 25


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
        upright = find_upright(_samples(path, options, info.frame_rate), detector)
        warnings += [text for text in (upright.note(path.name), upright.doubt(path.name)) if text is not None]
        width, height = (info.height, info.width) if upright.turns % 2 else (info.width, info.height)
        expected = _expected_frames(info.frames, options)
        if info.frames and expected is not None:
            options.expect(expected)
        look_for_hair = max(1, (expected or _HAIR_INTERVAL * _HAIR_SAMPLES) // _HAIR_SAMPLES)
        follower, cut_finder, cuts = FaceFollower(finder, detector), CutFinder(), []
        faces: list[Face | None] = []
        tops: list[float] = []
        with progress.stage("Landmarks", expected) as advance:
            for frame in _frames(path, options, upright.turns, warnings.append):
                cut = cut_finder.step(frame)
                if cut:
                    cuts.append(len(faces))
                face = follower.step(frame, cut)
                looked_at = face is not None and len(faces) % look_for_hair == 0
                tops.append(_hair_top(frame, segmenter, face) if looked_at and face is not None else float("nan"))
                faces.append(face)
                advance()
        refuse_unusable(faces, follower.tally, path, "video", upright.score)
        warnings += face_warnings(faces, follower.tally, rate, path) + cut_warnings(tuple(cuts), rate, path)
        if not info.frames:
            options.expect(len(faces))
        boxes = np.array([_box(face) for face in faces])
        crops = choose_crops(
            boxes,
            (width, height),
            options.size,
            frame_rate=rate,
            hair_tops=np.array(tops),
            mode=options.crop,
            cuts=tuple(cuts),
        )
        landmarks = np.stack([_cropped_points(face, crops, k) for k, face in enumerate(faces)])
        count = len(faces)
        faces.clear()  # Their landmarks are held as one array from here on.
        with progress.stage("Mattes", count) as advance:
            frames = _frames(path, options, upright.turns, lambda _: None)
            contours, torsos = _mattes(frames, crops, landmarks, segmenter, store, advance, tuple(cuts))
    finally:
        finder.close()
        detector.close()
        segmenter.close()
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
        image_sizes=np.repeat(np.array([[width, height]], np.float64), count, 0),
        warnings=tuple(warnings),
        people=follower.tally.several,
        cuts=tuple(cuts),
        face_score=upright.score if math.isfinite(upright.score) else None,
    )


def observe_photos(paths: list[Path], options: ObserveOptions, store: Store, progress: Progress) -> Observations:
    """Look at photos of one person.

    Raises:
        UserError: One cannot be read, or has no face that can be tracked.
    """
    finder, detector, segmenter = open_finder(still=True, model=options.landmarker), MediaPipeDetector(), Segmenter()
    warnings: list[str] = []
    people, worst = 1, float("nan")
    landmarks, contours, torsos, corners, scales, sizes = [], [], [], [], [], []
    try:
        with progress.stage("Landmarks and mattes", len(paths)) as advance:
            for k, path in enumerate(paths):
                photo = _look_at_photo(path, options, finder, detector, segmenter)
                warnings += photo.warnings
                people, worst = max(people, photo.tally.several), float(np.fmin(worst, photo.upright.score))
                points = _cropped_points(photo.face, photo.crops, 0)[None]

                def keep(_: str, pixels: NDArray[np.uint8], matte: NDArray[np.uint8], name: str = f"{k:05d}") -> None:
                    store(name, pixels, matte)

                contour, torso = _mattes(iter([photo.image]), photo.crops, points, segmenter, keep, lambda: None)
                landmarks.append(points[0])
                contours.append(contour[0])
                torsos.append(torso[0])
                corners.append(photo.crops.corners[0])
                scales.append(photo.crops.scales[0])
                sizes.append((photo.image.shape[1], photo.image.shape[0]))
                advance()
    finally:
        finder.close()
        detector.close()
        segmenter.close()
    return Observations(
        kind="photos",
        names=tuple(f"{k:05d}" for k in range(len(paths))),
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
        face_score=worst if math.isfinite(worst) else None,
    )


@dataclass(frozen=True)
class _Photo:
    """One photo as it was looked at."""

    image: NDArray[np.uint8]
    face: Face
    crops: Crops
    tally: Tally
    upright: Upright
    warnings: tuple[str, ...]


def _look_at_photo(
    path: Path, options: ObserveOptions, finder: LandmarkFinder, detector: FaceDetector, segmenter: Segmenter
) -> _Photo:
    """Read a photo, turn it upright and find the face and its crop.

    A photo of more than 16.8 megapixels is reduced to these first, and read whole only where the crop of the reduced
    one would have fewer pixels than are asked for.

    Raises:
        UserError: It cannot be read, or has no face that can be tracked.
    """
    image, picture = open_photo(path, most_pixels=_WORKING_PIXELS)
    looked = _find_and_crop(image, options, finder, detector, segmenter)
    reduced = picture.size[0] * picture.size[1] > image.shape[0] * image.shape[1]
    if reduced and looked.crops is not None and looked.crops.sides[0] < options.size:
        image, picture = open_photo(path, most_pixels=MOST_PIXELS)
        looked = _find_and_crop(image, options, finder, detector, segmenter)
    refuse_unusable([looked.face], looked.tally, path, "photo", looked.upright.score)
    assert looked.face is not None and looked.crops is not None
    warnings = [f"{path.name}: {note}" for note in picture.notes]
    warnings += [text for text in (looked.upright.note(path.name), looked.upright.doubt(path.name)) if text is not None]
    warnings += face_warnings([looked.face], looked.tally, 0.0, path)
    image = turned(image, looked.upright.turns)
    return _Photo(image, looked.face, looked.crops, looked.tally, looked.upright, tuple(warnings))


@dataclass(frozen=True)
class _Look:
    face: Face | None
    crops: Crops | None
    tally: Tally
    upright: Upright


def _find_and_crop(
    image: NDArray[np.uint8],
    options: ObserveOptions,
    finder: LandmarkFinder,
    detector: FaceDetector,
    segmenter: Segmenter,
) -> _Look:
    """The face of a photo, in pixels of the picture turned upright, and the crop around it."""
    upright = find_upright([image], detector)
    image = turned(image, upright.turns)
    face, tally = find_in_photo(image, finder, detector)
    if face is None:
        return _Look(None, None, tally, upright)
    top = _hair_top(image, segmenter, face)
    crops = choose_crops(
        np.array([_box(face)]),
        (image.shape[1], image.shape[0]),
        options.size,
        frame_rate=0.0,
        hair_tops=np.array([top]),
        mode=options.crop,
    )
    return _Look(face, crops, tally, upright)


def _expected_frames(announced: int, options: ObserveOptions) -> int | None:
    if not announced:
        return options.max_frames
    count = -(-announced // options.every)
    return count if options.max_frames is None else min(count, options.max_frames)


def _frames(
    path: Path, options: ObserveOptions, turns: int, warn: Callable[[str], None]
) -> Iterator[NDArray[np.uint8]]:
    for frame in read_video(path, every=options.every, max_frames=options.max_frames, warn=warn):
        yield turned(frame.image, turns)


def _samples(path: Path, options: ObserveOptions, rate: float) -> Iterator[NDArray[np.uint8]]:
    """Frames half a second apart, the first ones that are used."""
    apart = max(1, round(rate / 2))
    most = _UPRIGHT_SAMPLES
    if options.max_frames is not None:
        most = min(most, -(-options.max_frames * options.every // apart))
    for frame in read_video(path, every=apart, max_frames=most):
        yield frame.image


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
) -> tuple[NDArray[np.float32], KeptViews]:
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
    torsos = KeptViews()
    for k, probability in enumerate(median_of_three(probabilities(), cuts)):
        pixels, inside = held.pop(0)
        points = filled[k, :468, :2]
        matte = refine_matte(pixels, probability, (float(points[:, 0].mean()), float(points[:, 1].mean())), inside)
        store(f"{k:05d}", pixels, matte)
        contours.append(padded_contour(matte_contour(pixels, matte, filled[k, :, :2], inside)))
        torsos.append(torso_view(pixels, matte, filled[k, :, :2], inside))
        advance()
    return np.stack(contours), torsos


def _hold_landmarks(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """NaN frames replaced by the nearest frame that has a face."""
    seen = np.flatnonzero(np.isfinite(landmarks[:, 0, 0]))
    return landmarks[nearest_of(seen, len(landmarks))]
