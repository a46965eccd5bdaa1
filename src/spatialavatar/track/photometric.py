"""The photometric stage: identity, motion, focal length and light fitted to the pixels through our own rasteriser.

Landmarks and outlines say where a dozen features are; every pixel says where the surface is. A likeness of the person
(Gaussians on the mesh, learned on the way) is drawn into frame after frame, in random order, and what differs moves
the likeness, that frame's corrections and what all frames share. The corrections of all frames are alive together and
smoothness looks both ways in time, so nothing lags. First small pictures, then larger ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from spatialavatar.avatar.binding import world_from_local
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import in_camera
from spatialavatar.splat.box import Box, joined, matte_box
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.photometric import l1_ssim
from spatialavatar.splat.render import render
from spatialavatar.track.corrections import CORRECTION_UNITS, Anchor, Corrections, corrected, make_anchor, zoomed
from spatialavatar.track.cuts import apart_in_time
from spatialavatar.track.frame_adam import FrameAdam, adam_step_
from spatialavatar.track.likeness import Likeness, start_likeness, turned_shades
from spatialavatar.track.steady import SteadyConfig, steadied


@dataclass(frozen=True)
class PhotometricConfig:
    """Steps, weights and units of the photometric stage. A unit is about how far an unknown moves in a fit."""

    passes: float = 40.0
    """How often every frame is visited."""
    fewest_steps: int = 1200
    """Least number of steps, for short videos."""
    resolution: int = 128
    """Of the likeness' UV layout."""
    size: int = 256
    """Side of the pictures in the end, in pixels."""
    coarse: float = 0.25
    """Share of the steps made on pictures of half that size."""
    likeness_first: int = 400
    """Steps in which the likeness alone is learned."""
    together: int = 4
    """Frames that are posed at once, before each is drawn by itself and the likeness learns from it. Posing a mesh is
    hundreds of small operations, which cost as much for one frame as for several."""
    rate: float = 0.1
    """Adam's rate in units."""
    shared_rate: float = 0.01
    """Adam's rate for what all frames share, in units."""
    landmark: float = 0.005
    """Weight of the landmarks' robust squared error over `landmark_bend`, beside the picture's loss, with personal
    offsets."""
    shared_landmark: float = 0.02
    """The same for what all frames share, without offsets. The skin may slide over the mesh as long as it does so in
    every frame: the pictures cannot tell. Landmarks can; but what the detector does differently from frame to frame is
    its own error."""
    landmark_bend: float = 0.03
    """Over the inter-ocular distance."""
    prior: float = 0.001
    """Weight of squared corrections in units."""
    smooth: float = 0.01
    """Weight of squared second differences of the motion in units, at 25 frames/s."""
    rigid: float = 0.01
    """Share of `prior` and `smooth` that holds where head and body are. Pictures say that better than anything before
    them; and a head that leans back fast is neither where it was nor still. Trembling is taken out in the end."""
    known_lens: bool = False
    """The focal length stays as it is."""
    steady: SteadyConfig | None = field(default_factory=SteadyConfig)
    """What takes out trembling in the end; None leaves it."""


UNITS = {
    **CORRECTION_UNITS,
    **{"gain": 0.05, "identity": 1.5, "log_focal": 0.2, "offsets": 0.003},
}
# The pictures say nothing reliable about these; and gaze moves lids by itself.
_FIXED_EXPRESSIONS = ("tongueOut", "cheekPuff")
_RIGID = ("head_turn", "head_shift", "body_turn", "body_shift")
_LEAST_FRAMES = 8
_MOST_KEPT = 2 << 30
"""Bytes of pictures that are kept: 8,192 frames at 256 x 256, five minutes."""


def photometric_steps(config: PhotometricConfig, sequence: TrackedSequence) -> int:
    """How many steps the stage takes; none for photos and for videos of a few frames."""
    frames = int(sequence.is_valid.sum())
    if sequence.kind != "video" or frames < _LEAST_FRAMES:
        return 0
    return max(config.fewest_steps, round(config.passes * frames))


def fit_photometric(
    sequence: TrackedSequence,
    head: Head,
    config: PhotometricConfig | None = None,
    advance: Callable[..., None] = lambda *_: None,
    seed: int = 0,
    cuts: tuple[int, ...] = (),
    drift: Tensor | None = None,
) -> TrackedSequence:
    """Improve the tracking of a video by its pixels.

    Args:
        sequence: As landmarks and outlines gave it, with its frames at hand. One camera for all frames.
        advance: Called after every step; `photometric_steps` gives how many there are.
        seed: Of the order of the frames and the random backgrounds.
        cuts: First frames after cuts, over which the motion is not smooth.
        drift: (T, 4) `steady.picture_motion` where it is known already.

    Returns:
        The sequence with new identity, motion and intrinsics. Frames without an observed face get the mean of their
        neighbours' corrections. Photos, and videos of fewer than 8 frames, come back as they are: so few pictures
        could be explained by a wrong likeness as well as by a right motion.
    """
    config = config or PhotometricConfig()
    if photometric_steps(config, sequence) == 0:
        return sequence
    fit = _PhotometricFit(sequence, head, config, seed, cuts)
    while fit.iteration < fit.total:
        fit.step(advance)
    found = fit.result()
    return found if config.steady is None else steadied(found, head, config.steady, cuts, drift)


class _PhotometricFit:
    """The state of one fit; mutable on purpose."""

    def __init__(
        self, sequence: TrackedSequence, head: Head, config: PhotometricConfig, seed: int, cuts: tuple[int, ...]
    ):
        self.sequence, self.head, self.config = sequence, head, config
        self.times = torch.from_numpy(apart_in_time(np.arange(len(sequence)), cuts))
        self.seen = torch.nonzero(sequence.is_valid)[:, 0].tolist()
        self.total = photometric_steps(config, sequence)
        self.generator = torch.Generator().manual_seed(seed)
        self.anchor: Anchor = make_anchor(head, sequence.identity, sequence.motion)
        layout = build_uv_layout(head, config.resolution)
        rest = head.prepare_identity(sequence.identity).shaped_template
        self.likeness: Likeness = start_likeness(head, layout, rest)
        self.embedding = load_landmarks(head)
        needed, self.corners = self.embedding.vertices(head.faces)
        self.landmark_rig = head.restrict(needed)
        frames = len(sequence)
        none = Corrections.none(frames, head.num_expressions)
        of_frames = {f.name: getattr(none, f.name) for f in fields(none)}
        self.frames = FrameAdam({**of_frames, "gain": torch.zeros(frames, 3)})
        self.shared = {
            "identity": torch.zeros_like(sequence.identity),
            "log_focal": torch.zeros(1),
            "offsets": torch.zeros(len(self.embedding), 3),
        }
        self.shared_moments = {name: torch.zeros(2, *value.shape) for name, value in self.shared.items()}
        self.shared_visits = 0
        self.free = torch.tensor([name not in _FIXED_EXPRESSIONS for name in head.expression_names]).float()
        self.jaw = 0.0 if self.anchor.bounded else 1.0
        self.path = {
            "expression": sequence.motion.expression / UNITS["expression"],
            "gaze": sequence.motion.eyes_rotation / UNITS["gaze"],
            "head_turn": _relative_turns(self.anchor.head) / UNITS["head_turn"],
            "head_shift": self.anchor.middle / UNITS["head_shift"],
            "body_turn": _relative_turns(self.anchor.body) / UNITS["body_turn"],
            "body_shift": self.anchor.root / UNITS["body_shift"],
        }
        self.depths = in_camera(self.anchor.middle[:, None], sequence.camera_from_world)[:, 0, 2]
        self.turns = turned_shades(self.anchor.head)
        self.pictures: dict[int, tuple[Tensor, Tensor, Box]] = {}
        self.kept_size = 0
        self.order: list[int] = []
        self.iteration = 0

    def step(self, advance: Callable[..., None] = lambda *_: None) -> float:
        """A few frames drawn, compared, and everything they say taken in; returns the pictures' mean loss.

        Args:
            advance: Called for every frame.
        """
        config = self.config
        frames = self._next_frames()
        shared = {name: value.clone().requires_grad_() for name, value in self.shared.items()}
        leaves = {**self.frames.leaves(frames), **shared}
        identity = self.sequence.identity + leaves["identity"] * UNITS["identity"]
        vertices = self.head.pose(identity, self._motion(identity, frames, leaves))
        widened, camera = self._zoomed(vertices, frames, leaves)
        pulls, gains, losses = [], [], []
        for frame, mesh, gain in zip(frames, widened.detach(), leaves["gain"].detach(), strict=True):
            self.likeness.set_rate(0.05 + 0.95 * self._cosine())
            losses.append(self._learn_picture(frame, mesh.requires_grad_(), gain.requires_grad_()))
            pulls.append(mesh.grad)
            gains.append(gain.grad)
            self.iteration += 1
            advance()
        leaves["gain"].grad = torch.stack(gains)
        landmarks = self.embedding.points(camera, self.head.faces)
        total = config.landmark * self._landmark_loss(frames, landmarks, leaves["offsets"])
        if config.shared_landmark > 0:
            total = total + config.shared_landmark * self._shared_landmark_loss(frames, leaves)
        torch.autograd.backward(total + (widened * torch.stack(pulls)).sum())
        self._add_priors(frames, leaves)
        if self.iteration > config.likeness_first:
            self._move(frames, leaves, self._cosine())
        return sum(losses) / len(losses)

    def _cosine(self) -> float:
        """What rates are multiplied by now."""
        return 0.5 * (1 + math.cos(math.pi * self.iteration / self.total))

    def _learn_picture(self, frame: int, mesh: Tensor, gain: Tensor) -> float:
        """Draw a frame's mesh (V, 3), gather what differs at the mesh and the gain, and let the likeness learn."""
        coarse = self.iteration < self.config.coarse * self.total
        size = self.config.size // 2 if coarse else self.config.size
        background = torch.rand(3, generator=self.generator)
        world = world_from_local(self.likeness.local, mesh, self.likeness.binding)
        world = self.likeness.lit(world, self.turns[frame], gain * UNITS["gain"])
        rendering = render(world, self._camera(frame, size), background)
        target = self._target(frame, size, background, rendering.image.detach())
        loss = l1_ssim(rendering.image, target, 0.8, 0.2, crop=joined(self._pixels(frame, size)[2], rendering.box))
        torch.autograd.backward(loss)
        self.likeness.step()
        return float(loss.detach())

    def _shared_landmark_loss(self, frames: list[int], leaves: dict[str, Tensor]) -> Tensor:
        """The landmarks' say in what all frames share: the frames' own corrections and offsets take none of it."""
        own = {name: leaves[name].detach() for name in self.frames.values}
        identity = self.sequence.identity + leaves["identity"] * UNITS["identity"]
        rig = self.landmark_rig
        posed = rig.pose(rig.prepare_identity(identity), self._motion(identity, frames, own))
        points = self.embedding.points_from_restricted(posed, self.corners)
        _, camera = self._zoomed(points, frames, leaves)
        return self._landmark_loss(frames, camera, torch.zeros_like(leaves["offsets"]))

    def _zoomed(self, points: Tensor, frames: list[int], leaves: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Points (B, N, 3) as the lens in `leaves` shows them, the head as large: in the world and the camera."""
        return zoomed(points, self.sequence.camera_from_world[frames], _zoom(leaves), self.depths[frames])

    def _motion(self, identity: Tensor, frames: list[int], leaves: dict[str, Tensor]) -> Motion:
        return corrected(self.head, identity, self.anchor[frames], self._corrections(leaves))

    def _corrections(self, values: dict[str, Tensor]) -> Corrections:
        """What the unknowns of some frames, in units, come to."""
        scaled = {f.name: values[f.name] * UNITS[f.name] for f in fields(Corrections)}
        scaled["expression"] = scaled["expression"] * self.free
        scaled["jaw"] = scaled["jaw"] * self.jaw
        return Corrections(**scaled)

    def _landmark_loss(self, frames: list[int], points: Tensor, offsets: Tensor) -> Tensor:
        """Robust mean squared distance of the embedding's points to the landmarks found, added up over B frames.

        Args:
            points: (B, L, 3) in the camera's frame.
            offsets: (L, 3) personal ones, in units, in the head's frame.
        """
        landmarks = self.sequence.landmarks
        if landmarks is None:
            return points.new_zeros(())
        found = landmarks[frames]
        between = (found[:, 468] - found[:, 473]).norm(dim=1)[:, None, None]
        rotations = self.sequence.camera_from_world[frames, :3, :3] @ self.anchor.head[frames]
        points = points + offsets * UNITS["offsets"] @ rotations.mT
        intrinsics = self.sequence.intrinsics[frames]
        pixels = points[..., :2] / points[..., 2:] * intrinsics[:, None, :1, 0] + intrinsics[:, None, :2, 2]
        squared = ((pixels - found[:, self.embedding.indices]) / between / self.config.landmark_bend).square().sum(-1)
        weights = self.embedding.weights
        return (weights * squared / (1 + squared / 4)).sum() / weights.sum()

    @torch.no_grad()
    def _add_priors(self, frames: list[int], leaves: dict[str, Tensor]) -> None:
        """Add the gradient of the priors to that of the pictures.

        For each frame they are `prior` times the mean squared unknowns, its own and those that all share, and `smooth`
        times the mean squared second differences in time: so simple that autograd would spend most of its time on
        taking notes.
        """
        config = self.config
        here = torch.tensor(frames)
        before, after = (here - 1).clamp_min(0), (here + 1).clamp_max(len(self.times) - 1)
        inside = (self.times[after] - self.times[before] == 2)[:, None]
        smooth = config.smooth * (max(self.sequence.frame_rate, 1.0) / 25) ** 2
        for name, leaf in leaves.items():
            unknowns = leaf.shape[1] if name in self.frames.values else leaf.numel() / len(frames)
            held = config.rigid if name in _RIGID else 1.0
            change = leaf.detach() * (2 * held * config.prior / unknowns)
            if name in self.path:
                path, values = self.path[name], self.frames.values[name]
                around = path[before] + values[before] + path[after] + values[after]
                bend = path[here] + values[here] - 0.5 * around
                change += inside * bend * (2 * held * smooth / unknowns)
            leaf.grad = change if leaf.grad is None else leaf.grad.add_(change)

    def _move(self, frames: list[int], leaves: dict[str, Tensor], cosine: float) -> None:
        """Adam's step on these frames' corrections and on what is shared."""
        rates = self.config
        self.frames.move(frames, {name: leaves[name] for name in self.frames.values}, rates.rate * cosine)
        self.shared_visits += 1
        with torch.no_grad():
            for name, value in self.shared.items():
                gradient = leaves[name].grad
                held = name == "log_focal" and rates.known_lens
                if gradient is not None and not held:
                    first, second = self.shared_moments[name]
                    rate = rates.shared_rate * cosine
                    adam_step_(value, first, second, gradient, self.shared_visits, rate, 0.9, 0.99)

    def _next_frames(self) -> list[int]:
        """Some frames, each another; all of them once before any comes again."""
        if not self.order:
            self.order = torch.randperm(len(self.seen), generator=self.generator).tolist()
        count = min(self.config.together, self.total - self.iteration, len(self.order))
        return [self.seen[self.order.pop()] for _ in range(count)]

    def _camera(self, frame: int, size: int) -> Camera:
        return self.sequence.camera(frame).scaled(size / self.sequence.width)

    def _target(self, frame: int, size: int, background: Tensor, drawn: Tensor) -> Tensor:
        """(S, S, 3) the frame over the background; what is drawn beyond the source is compared with itself."""
        image, matte, _ = self._pixels(frame, size)
        alpha = matte.float() / 255
        color = background[:, None, None]
        target = ((image.float() / 255 - color) * alpha + color).permute(1, 2, 0)
        if self.sequence.source_boxes is None:
            return target
        step = self.sequence.width / size
        x0, x1, y0, y1 = (edge / step for edge in self.sequence.filmed(frame))
        inside = (slice(math.ceil(y0), math.floor(y1)), slice(math.ceil(x0), math.floor(x1)))
        known = drawn.clone()
        known[inside] = target[inside]
        return known

    def _pixels(self, frame: int, size: int) -> tuple[Tensor, Tensor, Box]:
        """(3, S, S) image and (S, S) matte bytes, made smaller by averaging, and the matte's box; kept.

        Of the last size asked for alone, and of a very long video not all: the one kept longest makes room.
        """
        if size != self.kept_size:
            self.pictures.clear()
            self.kept_size = size
        if frame not in self.pictures:
            if (len(self.pictures) + 1) * 4 * size**2 > _MOST_KEPT:
                del self.pictures[next(iter(self.pictures))]
            pair = (self.sequence.image(frame).numpy(), self.sequence.matte(frame).numpy())
            small = [cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA) for pixels in pair]
            image = torch.from_numpy(np.ascontiguousarray(small[0].transpose(2, 0, 1)))
            matte = torch.from_numpy(small[1])
            self.pictures[frame] = image, matte, matte_box(matte)
        return self.pictures[frame]

    @torch.no_grad()
    def result(self) -> TrackedSequence:
        """The corrected sequence; its world's origin is the head's median place again."""
        sequence = self.sequence
        identity = sequence.identity + self.shared["identity"] * UNITS["identity"]
        values = {name: _filled(value, self.seen) for name, value in self.frames.values.items()}
        motion = corrected(self.head, identity, self.anchor, self._corrections(values))
        zoom = _zoom(self.shared)
        intrinsics = sequence.intrinsics.clone()
        intrinsics[:, [0, 1], [0, 1]] *= zoom
        # A longer lens sees the head as large as before from farther away.
        away = (zoom - 1) * self.depths
        usual = away[sequence.is_valid].median()
        cameras = sequence.camera_from_world.clone()
        forward = cameras[:, 2, :3]
        motion = replace(motion, translation=motion.translation + (away - usual)[:, None] * forward)
        cameras[:, 2, 3] += usual
        return replace(sequence, identity=identity, motion=motion, intrinsics=intrinsics, camera_from_world=cameras)


def _zoom(values: dict[str, Tensor]) -> Tensor:
    """(1,) how many times as long the lens is as it was."""
    return (values["log_focal"] * UNITS["log_focal"]).exp()


def _relative_turns(rotations: Tensor) -> Tensor:
    """(T, 3, 3) -> (T, 3) axis-angle against their mean rotation."""
    u, _, vt = torch.linalg.svd(rotations.mean(0))
    mean = u @ torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vt))])) @ vt
    return axis_angle_from_rotation_matrix(rotations @ mean.T)


def _filled(values: Tensor, seen: list[int]) -> Tensor:
    """Corrections of frames without a face, linearly between those of their neighbours."""
    everywhere = np.arange(len(values))
    columns = [np.interp(everywhere, seen, column[seen]) for column in values.numpy().T]
    return torch.from_numpy(np.stack(columns, 1)).float()
