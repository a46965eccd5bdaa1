"""Eq. 2: every term of Stage 1's loss for some items, and their weighted sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.avatar.binding import Binding, make_binding, world_from_local
from spatialavatar.generate.generator import Generator, GeneratorOutput, local_gaussians
from spatialavatar.generate.inputs import Sources
from spatialavatar.generate.view_code import view_code
from spatialavatar.splat.render import render
from spatialavatar.train.config import LossConfig, TrainConfig
from spatialavatar.train.draws import Stream, stream
from spatialavatar.train.items import Item, Target
from spatialavatar.train.jacobian import rademacher, view_penalty
from spatialavatar.train.ms_ssim import ms_ssim
from spatialavatar.train.pixels import box_l1, l1
from spatialavatar.train.shrinkage import residual_shrinkage
from spatialavatar.train.total_variation import GridNeighbours, grid_neighbours, total_variation

PerceptualLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Terms:
    """Each term's mean over the items, unweighted, by the name of its weight; `psnr` beside them for the log."""

    values: dict[str, Tensor]
    pictures: list[tuple[Tensor, Tensor]]
    """Rendered and wanted (3, H, W) of each item's first target, detached."""

    def weighted(self, config: LossConfig) -> Tensor:
        """The scalar to descend."""
        parts = [getattr(config, name) * value for name, value in self.values.items() if name != "psnr"]
        return torch.stack(parts).sum()


class Objective:
    """The terms that the weights ask for; what has the weight 0 is not computed."""

    def __init__(self, config: TrainConfig, generator: Generator, perceptual: PerceptualLoss | None):
        self.config, self.generator = config, generator
        self.perceptual = perceptual if config.loss.lpips else None
        device = next(generator.parameters()).device
        self.binding: Binding = make_binding(
            generator.head.faces.cpu(), generator.layout.triangles.cpu(), generator.head.num_vertices
        ).to(device)
        self.neighbours: GridNeighbours = grid_neighbours(generator.layout).to(device)
        self.device = device

    def terms(self, items: Sequence[Item], step: int, numbers: Sequence[int]) -> Terms:
        """All terms for items of one K.

        Args:
            items: What `ItemMaker` made.
            step, numbers: Where they came from; the probes of the view penalty follow from it.
        """
        sources = Sources.cat([item.sources for item in items]).to(self.device)
        with self._autocast():
            features = self.generator.encode(sources)
        found: dict[str, list[Tensor]] = {}
        pictures: list[tuple[Tensor, Tensor]] = []
        for place in range(len(items[0].targets)):
            targets = [item.targets[place].to(self.device) for item in items]
            gamma = view_code(torch.stack([target.direction for target in targets]))
            probed = place == 0 and self.config.loss.jacobian > 0 and self.generator.config.view_code
            if probed:
                gamma.requires_grad_()
            with self._autocast():
                output = self.generator.decode_from_code(
                    features, gamma, torch.stack([target.condition for target in targets])
                )
            parts = self._pictures(output, targets, pictures if place == 0 else [])
            if place == 0:
                # What the sources alone decide is looked at once per item.
                parts |= self._geometry(output, gamma if probed else None, step, numbers)
            for name, value in parts.items():
                found.setdefault(name, []).append(value.float().mean())
        return Terms({name: torch.stack(values).mean() for name, values in found.items()}, pictures)

    def _autocast(self) -> Any:
        wanted = self.config.precision == "bf16" and self.device.type == "cuda"
        return torch.autocast("cuda", torch.bfloat16) if wanted else nullcontext()

    def _pictures(
        self, output: GeneratorOutput, targets: list[Target], shown: list[tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """The four terms on pictures, each (B,), and PSNR."""
        loss = self.config.loss
        rows: dict[str, list[Tensor]] = {}
        for index, target in enumerate(targets):
            picture = draw(output, index, target, self.binding)
            pair = picture[None], target.picture[None]
            if loss.l1:
                rows.setdefault("l1", []).append(l1(*pair))
            if loss.ms_ssim:
                rows.setdefault("ms_ssim", []).append(1 - ms_ssim(*pair, loss.sigmas))
            if self.perceptual is not None:
                rows.setdefault("lpips", []).append(self.perceptual(*pair))
            if loss.box:
                rows.setdefault("box", []).append(box_l1(*pair, [target.box]))
            with torch.no_grad():
                error = (picture - target.picture).square().mean().clamp_min(1e-10)
                rows.setdefault("psnr", []).append(-10 * torch.log10(error)[None])
            shown.append((picture.detach(), target.picture))
        return {name: torch.cat(values) for name, values in rows.items()}

    def _geometry(
        self, output: GeneratorOutput, gamma: Tensor | None, step: int, numbers: Sequence[int]
    ) -> dict[str, Tensor]:
        """The terms on the UV maps, each (B,): TV of local geometry (or of its offsets from the base geometry), and the
        view penalty of what the heads emit. The two have the same derivatives by the view code."""
        loss = self.config.loss
        positions, log_scales = output.position_offsets.float(), output.log_scale_offsets.float()
        varied = (positions, log_scales)
        if loss.tv_of == "local":
            varied = (output.neutral.positions.float(), output.neutral.log_scales.float())
        parts = {}
        if loss.tv_position:
            parts["tv_position"] = total_variation(varied[0], self.neighbours)
        if loss.tv_log_scale:
            parts["tv_log_scale"] = total_variation(varied[1], self.neighbours)
        if gamma is not None:
            probes = [self._probe(positions.shape[1:], step, numbers, which) for which in (0, 1)]
            parts["jacobian"] = view_penalty(positions, log_scales, gamma, (probes[0], probes[1]))
        if loss.shrinkage and output.residuals:
            parts["shrinkage"] = residual_shrinkage({k: v.float() for k, v in output.residuals.items()})
        return parts

    def _probe(self, shape: torch.Size, step: int, numbers: Sequence[int], which: int) -> Tensor:
        probes = []
        for number in numbers:
            words = stream(self.config.seed, Stream.PROBE, step, number).integers(0, 2**62, size=2)
            probes.append(rademacher(shape, torch.Generator().manual_seed(int(words[which]))))
        return torch.stack(probes).to(self.device)


def draw(output: GeneratorOutput, index: int, target: Target, binding: Binding) -> Tensor:
    """(3, H, W): one subject's Gaussians, posed and rendered as the target is, over its background.

    A camera of a multiple of the picture's size is averaged down to it.
    """
    local = local_gaussians(output, index)
    if local.positions.dtype != torch.float32:
        local = local.to(dtype=torch.float32)
    world = world_from_local(local, target.vertices, binding)
    image = render(world, target.camera, target.background).image.permute(2, 0, 1)
    if image.shape == target.picture.shape:
        return image
    return functional.avg_pool2d(image[None], image.shape[-1] // target.picture.shape[-1])[0]
