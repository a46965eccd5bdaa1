"""Correctives: what an expression changes beyond the head model, learned from the subject's video (ours).

A head model's expressions are everybody's. When this person smiles the cheeks go elsewhere and darken in other places,
and a tracker that has only everybody's expressions to say it with shifts the rim of the hair a little for each. All of
that is the same whenever the person makes that face, so it can be learned: of the frames' expressions the few
directions in which they differ most, and for each of these a coarse UV map of shifts and of brightness.

The result is a residual head (`avatar.residual`) that is linear up to where the video's expressions end and falls to
nothing beyond, so it goes wherever a generator's residual head goes: files, streams, the browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from spatialavatar import _native
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.binding import triangle_frames
from spatialavatar.avatar.residual import ATTRIBUTES, Residual, first_part
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.uv import UVLayout
from spatialavatar.refine.checkpoint import adam_state, restore_adam
from spatialavatar.refine.config import Correctives as CorrectivesConfig

KNOWN, UNKNOWN = 2.0, 4.0
"""Standard deviations of the video's expressions up to which a component is what it is, and from which on it is zero:
of a face that was never made nothing is known."""
FALL = KNOWN / (UNKNOWN - KNOWN)
BENDS = ((-UNKNOWN, -FALL), (-KNOWN, 1 + FALL), (KNOWN, -1 - FALL), (UNKNOWN, FALL))
"""Where the slope changes, and by how much."""
SHARPNESS = 4.0
"""How sharply: at 4 a bend takes about half a standard deviation."""
EYE, FACE = 0.012, 0.032
"""Metres from an eye's centre within which nothing is corrected, and from which on everything is. What gaze and blinks
do there changes faster than any map, and of other people's eyes the frames say least."""
ROTATION_WEIGHT = 2.0
"""Of a radian of the jaw or the eyes against an expression's coefficient."""
CHANGED = ("position", "color")
"""Attributes that are changed, in the kernel's order."""
MAP_WIDTH = 4
"""Numbers of a map's cell, as the kernel has them."""
LEAST_SPREAD = 0.02
"""Share of the largest component's spread below which a component is noise."""


@dataclass(frozen=True)
class MotionBasis:
    """The directions in which a video's expressions differ most.

    mean: (D,) of the frames' `Motion.condition`.
    directions: (K, D); a condition's components are `directions @ (condition - mean)`, of unit variance over the
        frames. Zero where the world's axes are meant: how somebody stands says nothing of a face.
    """

    mean: Tensor
    directions: Tensor

    def components(self, motion: Motion) -> Tensor:
        """(T, K) components of each frame, as far as they are known."""
        return known((motion.condition() - self.mean) @ self.directions.T)


def known(components: Tensor) -> Tensor:
    """Components up to `KNOWN` as they are, falling to 0 at `UNKNOWN`; in the terms that a residual head has (SiLU)."""
    ramps = [change * torch.nn.functional.silu(SHARPNESS * (components - at)) for at, change in BENDS]
    return torch.stack(ramps).sum(0) / SHARPNESS


def motion_basis(motion: Motion, components: int) -> MotionBasis:
    """The principal components of a video's expressions, jaw and gaze.

    Args:
        motion: Of the training frames.
        components: At most so many; fewer where the frames do not differ in as many ways.
    """
    condition = motion.condition().double()
    weights = torch.zeros(condition.shape[1], dtype=torch.float64)
    expressions = motion.expression.shape[1]
    weights[:expressions] = 1.0
    weights[expressions + 3 :] = ROTATION_WEIGHT
    mean = condition.mean(0)
    _, spreads, directions = torch.linalg.svd((condition - mean) * weights, full_matrices=False)
    spreads = spreads / max(len(condition) - 1, 1) ** 0.5
    kept = int((spreads[:components] > max(LEAST_SPREAD * float(spreads[0]), 1e-6)).sum())
    # The sign of a singular vector is whatever the library makes it.
    signs = directions[:kept].gather(1, directions[:kept].abs().argmax(1, keepdim=True)).sign()
    scaled = directions[:kept] * signs * weights / spreads[:kept, None]
    return MotionBasis(mean.float(), scaled.float())


@dataclass(frozen=True)
class CoarseWeights:
    """Which cells of a coarse UV map, M of them in use, each Gaussian lies between, and how much it takes of each.

    cells: (N, 4) int32.
    shares: (N, 4) bilinear; they add up to 1, or to less at the eyes.
    """

    cells: Tensor
    shares: Tensor

    @property
    def count(self) -> int:
        """M."""
        return int(self.cells.max()) + 1


def coarse_weights(head: Head, layout: UVLayout, resolution: int) -> CoarseWeights:
    """The cells of an R x R map, never across parts: what an eyelid does is no business of the eye behind it, which
    may be its neighbour in the map."""
    scale = resolution / layout.resolution
    x = (layout.columns.cpu().numpy() + 0.5) * scale
    y = (layout.rows.cpu().numpy() + 0.5) * scale
    parts = head.part_of_face[layout.triangles].cpu().numpy().astype(np.int64)

    def key(cell_x: np.ndarray, cell_y: np.ndarray) -> np.ndarray:
        return (parts * resolution + cell_y) * resolution + cell_x

    used = np.unique(key(x.astype(np.int64), y.astype(np.int64)))
    first_x, first_y = np.floor(x - 0.5).astype(np.int64), np.floor(y - 0.5).astype(np.int64)
    share_x, share_y = x - 0.5 - first_x, y - 0.5 - first_y
    cells, shares = [], []
    for step_y in (0, 1):
        for step_x in (0, 1):
            cell_x, cell_y = first_x + step_x, first_y + step_y
            wanted = key(cell_x.clip(0, resolution - 1), cell_y.clip(0, resolution - 1))
            cell = np.searchsorted(used, wanted).clip(max=len(used) - 1)
            inside = (cell_x >= 0) & (cell_x < resolution) & (cell_y >= 0) & (cell_y < resolution)
            share = np.where(step_x, share_x, 1 - share_x) * np.where(step_y, share_y, 1 - share_y)
            cells.append(cell)
            shares.append(np.where(inside & (used[cell] == wanted), share, 0.0))
    share = np.stack(shares, 1)
    share /= share.sum(1, keepdims=True)
    return CoarseWeights(torch.from_numpy(np.stack(cells, 1)).int(), torch.from_numpy(share).float())


def beside_the_eyes(head: Head, layout: UVLayout, rest: Tensor) -> Tensor:
    """(N,) 0 at the eyes, 1 away from them."""
    points = layout.surface_points(rest, head.faces)
    parts = head.part_of_face[layout.triangles]
    nearest = torch.full((len(layout),), torch.inf)
    for number, name in enumerate(head.part_names):
        if name in ("left_eye", "right_eye") and bool((parts == number).any()):
            nearest = torch.minimum(nearest, (points - points[parts == number].mean(0)).norm(dim=1))
    return ((nearest - EYE) / (FACE - EYE)).clamp(0, 1)


def local_from_rest(head: Head, layout: UVLayout, rest: Tensor) -> Tensor:
    """(N, 3, 3) from shifts along the axes of a mesh at rest, in units of a usual triangle, to those in each
    Gaussian's own triangle."""
    frames = triangle_frames(rest, head.faces)
    scales = frames.scales[layout.triangles]
    usual = float(scales.median())
    return (frames.rotations[layout.triangles].mT * (usual / scales)[:, None, None]).contiguous()


class Correctives:
    """The maps of one run, and their optimiser. Mutable on purpose: training state, and buffers.

    Args:
        head, layout: Of the avatar.
        rest: (V, 3) its mesh at rest, by whose axes shifts are meant: triangles beside each other have axes that have
            nothing in common.
        motion: Of all frames.
        learned: Of those that are learned from.
        config: How many, how coarse, how fast.
    """

    def __init__(
        self, head: Head, layout: UVLayout, rest: Tensor, motion: Motion, learned: Motion, config: CorrectivesConfig
    ):
        self.config = config
        self.basis = motion_basis(learned, config.components)
        self.components = self.basis.components(motion)
        self.weights = coarse_weights(head, layout, config.resolution)
        shares = self.weights.shares * beside_the_eyes(head, layout, rest)[:, None]
        self.weights = replace(self.weights, shares=shares)
        self.local_from_rest = local_from_rest(head, layout, rest)
        self.kernel = _coarse_maps(self.weights, self.local_from_rest, config.color_unit)
        self.maps = torch.zeros(len(self.basis.directions), self.weights.count, MAP_WIDTH, requires_grad=True)
        """(K, M, 4) what a component of 1 does: a shift (3) in units of a usual triangle along the axes at rest, and a
        brightness in units of `color_unit`."""
        self.optimiser = torch.optim.Adam([self.maps], lr=config.rate, eps=config.epsilon, fused=True)
        self.gradients = {name: torch.zeros(len(layout), 3) for name in CHANGED}
        """(N, 3) of a step's loss by what `corrections` gave; filled by whoever makes the step."""

    @torch.no_grad()
    def corrections(self, frame: int) -> dict[str, Tensor]:
        """(N, 3) by which a frame's expression shifts the Gaussians in their triangles and changes their colours."""
        return self._at_gaussians(torch.tensordot(self.components[frame], self.maps, 1))

    def _at_gaussians(self, cells: Tensor) -> dict[str, Tensor]:
        """(M, 4) of one map -> (N, 3) in the Gaussians' own terms."""
        found = {name: torch.empty(len(self.weights.cells), 3) for name in CHANGED}
        self.kernel.spread(cells.contiguous().numpy(), found["position"].numpy(), found["color"].numpy())
        return found

    @torch.no_grad()
    def learn(self, frame: int, factor: float) -> None:
        """One step of Adam by `gradients`, those of this frame.

        Args:
            factor: On the rate.
        """
        felt = torch.empty_like(self.maps[0])
        self.kernel.gather(self.gradients["position"].numpy(), self.gradients["color"].numpy(), felt.numpy())
        self.maps.grad = self.components[frame][:, None, None] * felt
        self.optimiser.param_groups[0]["lr"] = self.config.rate * factor
        self.optimiser.step()

    @torch.no_grad()
    def residual(self) -> Residual:
        """The same as a residual head; its features as its file holds them."""
        features = []
        for cells in self.maps:
            found = self._at_gaussians(cells)
            features += [found["position"], found["color"][:, :1]]
        return linear_residual(self.basis, torch.cat(features, 1).half().float())

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        tensors = {"maps": self.maps.detach()}
        return tensors | adam_state(self.optimiser, self.maps)

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to a checkpoint's state."""
        self.maps.copy_(tensors["maps"])
        restore_adam(self.optimiser, self.maps, tensors)


def learnable(avatar: Avatar, motion: Motion, training: list[int], config: CorrectivesConfig) -> Correctives | None:
    """Those of a video that is refined on; None where none are wanted, or its frames tell of none.

    Args:
        motion: Of all frames.
        training: Those that are learned from.
    """
    config = replace(config, components=min(config.components, len(training) // config.frames_each))
    if config.components == 0:
        return None
    rest, learned = avatar.prepared.shaped_template, motion[training]
    found = Correctives(avatar.head, avatar.layout, rest, motion, learned, config)
    return found if len(found.basis.directions) > 0 else None


def _coarse_maps(weights: CoarseWeights, local_from_rest: Tensor, color_unit: float) -> _native.CoarseMaps:
    """The kernel: it needs to know for each cell, too, who takes of it."""
    of_corner = weights.cells.flatten().numpy()
    order = np.argsort(of_corner, kind="stable")
    return _native.CoarseMaps(
        cells=weights.cells.numpy(),
        shares=weights.shares.numpy(),
        local_from_rest=local_from_rest.numpy(),
        first_of_cell=np.searchsorted(of_corner[order], np.arange(weights.count + 1)).astype(np.int32),
        members=(order // weights.cells.shape[1]).astype(np.int32),
        member_shares=weights.shares.flatten().numpy()[order],
        color_unit=color_unit,
    )


def without_correctives(avatar: Avatar) -> Avatar:
    """The same avatar less what an earlier refinement learned of its expressions; new ones are learned from the mean
    on."""
    refined, residual = avatar.provenance.get("refined"), avatar.residual
    count = refined.get("correctives", 0) if isinstance(refined, Mapping) else 0
    if residual is None or not isinstance(count, int) or count <= 0:
        return avatar
    channels = residual.features.shape[1] - MAP_WIDTH * count
    hidden = len(residual.hidden_bias) - len(BENDS) * count
    if min(channels, hidden) < 0:
        return avatar
    return replace(avatar, residual=first_part(residual, channels, hidden) if channels > 0 else None)


def linear_residual(basis: MotionBasis, features: Tensor) -> Residual:
    """A residual head that adds to positions and colours the sum of the components' maps.

    Four hidden units for each component bend it as `known` does; the modulation of a component's four channels is the
    component itself; positions take three of these, and the three colours the fourth.

    Args:
        basis: K components.
        features: (N, 4 K) for each component a shift (3) and a brightness.
    """
    count = len(basis.directions)
    channels = MAP_WIDTH * count
    hidden_weight = SHARPNESS * basis.directions.repeat(len(BENDS), 1)
    at = torch.tensor([at for at, _ in BENDS]).repeat_interleave(count)
    hidden_bias = -SHARPNESS * at - hidden_weight @ basis.mean
    component_of_channel = torch.arange(count).repeat_interleave(MAP_WIDTH)
    picked = torch.nn.functional.one_hot(component_of_channel, count).float() / SHARPNESS
    scale_weight = torch.cat([change * picked for _, change in BENDS], 1)  # (C, 4 K)
    film_weight = torch.zeros(len(ATTRIBUTES), 2, channels, len(BENDS) * count)
    film_weight[:, 0] = scale_weight
    film_bias = torch.zeros(len(ATTRIBUTES), 2, channels)
    film_bias[:, 0] = -1  # 1 + scale is the component
    weights = torch.zeros(sum(ATTRIBUTES.values()), channels)
    for axis in range(3):
        weights[axis, axis::MAP_WIDTH] = 1.0  # position
        weights[10 + axis, 3::MAP_WIDTH] = 1.0  # colour
    return Residual(
        features=features,
        hidden_weight=hidden_weight,
        hidden_bias=hidden_bias,
        film_weight=film_weight.reshape(-1, len(BENDS) * count),
        film_bias=film_bias.reshape(-1),
        weights=weights,
        biases=torch.zeros(len(weights)),
    )
