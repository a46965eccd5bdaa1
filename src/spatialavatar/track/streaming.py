"""A tracker that takes frames one by one, for live driving: landmarks and a fast fit, each frame from the one before.

It looks back only, holds nothing up, and knows no mattes, body or photometric stage: the head's pose, expression and
gaze. Who the person is it is told, or finds out from the first seconds while it is already tracking.
"""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.rig import NECK, ROOT
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.camera import Camera
from spatialavatar.track.body import body_rotation, coupled_motion, posed_joints, turned
from spatialavatar.track.faces import FaceDetector, LandmarkFinder, MediaPipeDetector, open_finder
from spatialavatar.track.fit import fit_person, start
from spatialavatar.track.follow import FaceFollower
from spatialavatar.track.frame_fit import FrameFitter, FrameState, frame_fitter
from spatialavatar.track.loss import FitConfig
from spatialavatar.track.measure import INNER_WEIGHT
from spatialavatar.track.model import FLIP, USUAL_FOCAL, eyes_rotation, face_model_of, full_expression
from spatialavatar.track.observe import Observations

# From nothing, after a short gap, and from the frame before.
_FIRST_STEPS, _STEPS_AFTER_GAP, _STEPS = 12, 5, 2
# Without a face for longer, a frame is fitted from nothing: the person is somewhere else by then.
_LONGEST_GAP = 5
# Frames that tell who somebody is, and how many lie between two of them.
_PERSON_FRAMES, _PERSON_EVERY = 24, 3
# Without outlines, landmarks say little about lens, distance and shape: the usual ones have more weight.
_CONFIG = FitConfig(identities=40, key_frames=_PERSON_FRAMES, key_steps=40, identity=0.005, focal=0.5, distance=0.5)


@dataclass(frozen=True)
class StreamedFrame:
    """What one frame shows.

    Attributes:
        motion: One frame for `head.pose(tracker.identity, motion)`, in the world of the tracker's camera.
        landmarks: (478, 2) MediaPipe's, in pixels of the frame.
        landmark_error: Mean distance of the inner landmarks to the fitted ones over the inter-ocular distance.
        identity_known: Whether the person's shape was known or has been found out; until then it is the average's.
    """

    motion: Motion
    landmarks: NDArray[np.float32]
    landmark_error: float
    identity_known: bool


class StreamingTracker:
    """Tracks one person in frames that come one by one.

    Attributes:
        head: The head that is fitted.
        identity: (K,) the person's coefficients; zeros until they are known.
        camera: Of the last frame; None before the first.
        failure: Why the person could not be found out, if so.
    """

    def __init__(
        self,
        *,
        head: Head | None = None,
        identity: Tensor | None = None,
        focal: float | None = None,
        frame_rate: float = 30.0,
        config: FitConfig | None = None,
        wait_for_person: bool = False,
        finder: LandmarkFinder | None = None,
        detector: FaceDetector | None = None,
    ) -> None:
        """
        Args:
            head: The open head by default.
            identity: The person's coefficients, as tracked before; by default they are found out from the first
                seconds, in a thread of its own, while frames are tracked with what is known so far.
            focal: Focal length over the longer side of the frames, where it is known.
            frame_rate: Frames per second, which says how smooth neighbours are.
            config: Weights of the fit.
            wait_for_person: Find out who it is within `step` (a second or two, once) and not beside it, so that the
                same frames always give the same motion.
            finder, detector: Where landmarks come from; MediaPipe by default.
        """
        if not 0 < frame_rate <= 1000:
            raise UserError(f"the frame rate is {frame_rate}; expected frames per second.")
        self.head = head or load_open_head()
        self.identity = torch.zeros(_CONFIG.identities) if identity is None else identity.detach().float().cpu()
        self.camera: Camera | None = None
        self.failure: Exception | None = None
        self._embedding = load_landmarks(self.head)
        self._model = face_model_of(self.head)
        self._offsets = torch.zeros(self._model.landmarks, 3)
        self._focal = focal or USUAL_FOCAL
        self._known = identity is not None
        self._rate = frame_rate
        self._config = config or _CONFIG
        self._wait = wait_for_person
        self._finder = finder or open_finder(still=False)
        self._detector = detector or MediaPipeDetector()
        self._follower = FaceFollower(self._finder, self._detector)
        self._pool = ThreadPoolExecutor(1)
        self._person: Future[tuple[Tensor, Tensor, float]] | None = None
        self._seen: list[NDArray[np.float32]] = []
        self._fitter: FrameFitter | None = None
        self._last: FrameState | None = None
        self._before: tuple[FrameState, ...] = ()
        self._gap, self._since_kept = 0, 0
        self._stance: _Stance | None = None
        self._size = (0, 0)

    @classmethod
    def of(cls, sequence: TrackedSequence, *, head: Head | None = None, frame_rate: float = 30.0) -> StreamingTracker:
        """For the person, and where it is known the camera, of a tracked sequence.

        Raises:
            UserError: It was tracked with another head.
        """
        head = head or load_open_head()
        if sequence.head_edition != head.edition:
            what = f"was tracked with the head {sequence.head_edition}, this is {head.edition}."
            raise UserError(what, where=sequence.folder, hint="Give the head it was tracked with.")
        focal = sequence.source.get("focal")
        return cls(head=head, identity=sequence.identity, focal=focal, frame_rate=frame_rate)

    @torch.no_grad()
    def step(self, image: NDArray[np.uint8]) -> StreamedFrame | None:
        """Track the next frame.

        Args:
            image: (H, W, 3) uint8 RGB, of the same size as all before.

        Returns:
            What it shows, None where no face is seen.
        """
        height, width = image.shape[:2]
        if (width, height) != self._size:
            self._size, self._fitter, self._seen = (width, height), None, []
            self._last, self._before = None, ()
        self._take_person()
        face = self._follower.step(image)
        if face is None:
            self._gap += 1
            # A step over a gap is no speed: smoothness begins anew with the frame that comes after.
            self._before = ()
            self._last = self._last if self._gap <= _LONGEST_GAP else None
            return None
        self._gap = 0
        points = face.points
        self._remember(points)
        fitter = self._fitter or self._new_fitter(points)
        found = points[fitter.model.indices.numpy(), :2].astype(np.float64)
        if self._last is None:
            state = fitter.fit(found, self._started(fitter, points), (), _FIRST_STEPS)
        else:
            steps = _STEPS if self._before else _STEPS_AFTER_GAP
            state = fitter.fit(found, self._last, self._before, steps)
        self._last, self._before = state, (state, *self._before[:1])
        motion = self._motion(fitter, state)
        fitted, _ = fitter.project(state, fitter.local(state.shape[None])[0] - fitter.offsets.double().numpy())
        inner = (fitter.model.weights > INNER_WEIGHT).numpy()
        error = float(np.linalg.norm(fitted - found, axis=1)[inner].mean() / max(face.inter_ocular, 1e-6))
        return StreamedFrame(motion, points[:, :2].copy(), error, self._known)

    def close(self) -> None:
        """Let MediaPipe's graphs go."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._finder.close()
        self._detector.close()

    def __enter__(self) -> StreamingTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_fitter(self, points: NDArray[np.float32]) -> FrameFitter:
        width, height = self._size
        _, targets = start(self._model, _observations(points[None], self._size), np.arange(1))
        self._fitter = frame_fitter(
            self._model,
            targets,
            self.identity,
            self._offsets,
            self._focal * max(width, height),
            np.array([width / 2, height / 2]),
            self._config,
            self._rate,
        )
        self._stance = None
        return self._fitter

    def _started(self, fitter: FrameFitter, points: NDArray[np.float32]) -> FrameState:
        """The average face turned onto the landmarks' own depth."""
        view, _ = start(self._model, _observations(points[None], self._size), np.arange(1))
        return FrameState(
            rotation=view.rotation[0].double().numpy(),
            place=view.place[0].double().numpy(),
            log_scale=float(view.log_scale[0]),
            shape=fitter.neutral_shape(),
        )

    def _remember(self, points: NDArray[np.float32]) -> None:
        """Keep a frame now and then until there are enough to tell who it is."""
        if self._known or self._person is not None:
            return
        self._since_kept += 1
        if self._since_kept >= _PERSON_EVERY:
            self._since_kept = 0
            self._seen.append(points)
        if len(self._seen) >= _PERSON_FRAMES:
            observations = _observations(np.stack(self._seen), self._size)
            self._person = self._pool.submit(self._find_person, observations)
            if self._wait:
                self._person.exception()
                self._take_person()

    def _find_person(self, observations: Observations) -> tuple[Tensor, Tensor, float]:
        with torch.enable_grad():
            found = fit_person(self._model, observations, _CONFIG)
        return found.identity, found.offsets, math.exp(float(found.log_focal[0]))

    def _take_person(self) -> None:
        """Go on with who it is, once that is found out."""
        if self._person is None or not self._person.done():
            return
        self.failure = self._person.exception()  # type: ignore[assignment]
        if self.failure is None:
            self.identity, self._offsets, self._focal = self._person.result()
            # The same face is now another state: begun anew, since the step to it is no motion.
            self._fitter, self._last, self._before = None, None, ()
        self._known, self._person, self._seen = True, None, []

    def _motion(self, fitter: FrameFitter, state: FrameState) -> Motion:
        """The motion in the world, whose origin is where the head was when tracking began; the body stands still."""
        model = fitter.model
        unknowns = fitter.unknowns(state.shape[None])
        rotation = torch.from_numpy(state.rotation).float()[None]
        position = torch.from_numpy(fitter.position(state)).float()[None]
        expression = full_expression(model, unknowns)
        if model.bounded:
            expression = expression.clamp(0, 1)
        joints = posed_joints(model.head, self.identity, expression)
        stance = self._stance or self._stand(fitter, rotation, position, joints)
        neck = turned(rotation, joints[:, NECK] - model.centre) + (position - stance.origin) * FLIP
        return coupled_motion(
            expression,
            joints,
            stance.body,
            rotation,
            stance.root,
            neck,
            jaw=unknowns.jaw,
            eyes=eyes_rotation(unknowns.gaze),
        )

    def _stand(self, fitter: FrameFitter, rotation: Tensor, position: Tensor, joints: Tensor) -> _Stance:
        model = fitter.model
        body = body_rotation(rotation, torch.ones(1, dtype=torch.bool), True)
        neck = turned(rotation, joints[:, NECK] - model.centre)
        root = neck + turned(body, joints[:, ROOT] - joints[:, NECK])
        self._stance = _Stance(position, body, root)
        width, height = self._size
        camera_from_world = torch.eye(4)
        camera_from_world[:3, :3] = torch.diag(FLIP)
        camera_from_world[:3, 3] = position[0]
        intrinsics = torch.tensor([[fitter.focal, 0, width / 2], [0, fitter.focal, height / 2], [0, 0, 1]])
        self.camera = Camera(camera_from_world, intrinsics, width, height)
        return self._stance


@dataclass(frozen=True)
class _Stance:
    """Where the person stood at first: origin of the world (1, 3) in camera metres, body (1, 3, 3), root (1, 3)."""

    origin: Tensor
    body: Tensor
    root: Tensor


def _observations(points: NDArray[np.float32], size: tuple[int, int]) -> Observations:
    """Landmarks (T, 478, 3) of whole frames as the fit takes them, without mattes."""
    count = len(points)
    return Observations(
        kind="video",
        names=tuple(f"{k:05d}" for k in range(count)),
        size=max(size),
        frame_rate=0.0,
        landmarks=points,
        contours=np.full((count, 1, 6), np.nan, np.float32),
        torsos=(),
        corners=np.zeros((count, 2)),
        scales=np.ones(count),
        image_sizes=np.repeat(np.array([size], np.float64), count, 0),
        warnings=(),
    )
