"""Stage 1's generator: from K = 1..4 pictures of a person to all Gaussians of the avatar, in one pass (§3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.residual import with_residuals
from spatialavatar.errors import UserError
from spatialavatar.generate.base_colors import Candidates, candidate_colors
from spatialavatar.generate.config import GeneratorConfig, check_config
from spatialavatar.generate.encoder import make_encoder
from spatialavatar.generate.heads import Heads, bounded
from spatialavatar.generate.inputs import Sources, check_count, prepare_sources
from spatialavatar.generate.pool import Pool
from spatialavatar.generate.prior import SurfacePrior, surface_prior
from spatialavatar.generate.residual import ResidualHead
from spatialavatar.generate.style_unet import StyleUNet
from spatialavatar.generate.view_code import view_code
from spatialavatar.generate.warp import warp
from spatialavatar.head.head import Head
from spatialavatar.head.uv import UVLayout
from spatialavatar.sequence.sequence import TrackedSequence

SAFE = 0.02
"""Base colours are kept this far from 0 and 1, where a logit has no end."""


@dataclass(frozen=True, eq=False)
class UVFeatures:
    """What depends on the sources only.

    maps: (B, N, C) the UV map at the valid pixels.
    shell: (B, N) metres, as in the sources.
    candidates: Colours to choose from, where the configuration starts from the texture.
    """

    maps: Tensor
    shell: Tensor
    candidates: Candidates | None


@dataclass(frozen=True, eq=False)
class BatchedGaussians:
    """B avatars of N local Gaussians: as LocalGaussians, with a leading dimension."""

    positions: Tensor
    quaternions_wxyz: Tensor
    log_scales: Tensor
    opacity_logits: Tensor
    colors: Tensor


@dataclass(frozen=True, eq=False)
class GeneratorOutput:
    """What one decoding emits.

    local: With the residuals added: what is posed and drawn.
    neutral: Without them.
    residuals: name -> (B, N, c); empty without a residual head.
    position_offsets: (B, N, 3) from the base geometry, units of the triangle's scale, without the residuals.
    log_scale_offsets: (B, N, 3) likewise.
    """

    local: BatchedGaussians
    neutral: BatchedGaussians
    residuals: dict[str, Tensor]
    position_offsets: Tensor
    log_scale_offsets: Tensor


def local_gaussians(output: GeneratorOutput, index: int = 0) -> LocalGaussians:
    """One subject's Gaussians, ready for `world_from_local`."""
    return _one(output.local, index)


def neutral_gaussians(output: GeneratorOutput, index: int = 0) -> LocalGaussians:
    """The same without the residuals: what an avatar stores."""
    return _one(output.neutral, index)


def _one(local: BatchedGaussians, index: int) -> LocalGaussians:
    return LocalGaussians(
        local.positions[index],
        local.quaternions_wxyz[index],
        local.log_scales[index],
        local.opacity_logits[index],
        local.colors[index],
    )


def _sub_pixels(layout: UVLayout, canvas_resolution: int) -> Tensor:
    """(N,) where each pixel stands among the StyleUNet's rows: cell by cell, sub-pixel by sub-pixel."""
    lift = layout.resolution // canvas_resolution
    cells = (layout.rows // lift) * canvas_resolution + layout.columns // lift
    return (cells * lift + layout.rows % lift) * lift + layout.columns % lift


class Generator(nn.Module):
    """Sources, view direction and condition in, Gaussians out.

    Args:
        config: A preset, or one with changes.
        head: The head whose layout is generated.
        layout: Its UV layout, of the configuration's resolution.
    """

    def __init__(self, config: GeneratorConfig, head: Head, layout: UVLayout):
        super().__init__()
        check_config(config)
        if layout.resolution != config.layout_resolution or layout.head_edition != head.edition:
            raise UserError(
                f"this generator works on a UV layout of {config.layout_resolution} pixels of its own head; the layout "
                f"given is {layout.layout_id} of {layout.head_edition}.",
            )
        self.config, self.head, self.layout = config, head, layout
        self.prior: SurfacePrior = surface_prior(head, layout, config.canvas_resolution)
        self.encoder = make_encoder(config)
        warped = config.feature_channels + (4 if config.visibility_channel else 3)
        self.pool = Pool(config.pool, warped, config.code_channels)
        cues = 3 * 3 + 3 + self.prior.encoding.shape[1] if config.cues else 0
        self.unet = StyleUNet(
            warped + cues,
            config.map_channels,
            config.unet_widths,
            code_channels=config.code_channels,
            style_channels=config.style_channels,
            resolution=config.canvas_resolution,
            lift=config.layout_resolution // config.canvas_resolution,
            noise=config.unet_noise,
            template=config.cues,
        )
        outputs = {"position": 3, "rotation": 4, "log_scale": 3, "color": 3, "opacity": 1}
        if config.cues:
            outputs["position"] += 1  # outwards, for hair
            outputs["color"] += 3  # which candidate to believe
        self.heads = Heads(config.map_channels, config.head_width, outputs, config.view_code)
        self.residual = (
            ResidualHead(config.map_channels, head.num_expressions + 12, config.residual_width)
            if config.residual
            else None
        )
        self._register_prior()

    map_rows: Tensor
    cells: Tensor
    share: Tensor
    sites: Tensor
    site_cells: Tensor
    encoding: Tensor
    base_positions: Tensor
    base_quaternions: Tensor
    base_log_scales: Tensor
    base_opacity: Tensor
    base_colors: Tensor
    outward: Tensor
    spread: Tensor
    scalp: Tensor

    def _register_prior(self) -> None:
        """Constants of the layout, moved with the module but never saved."""
        prior, gaussians = self.prior, self.prior.gaussians
        constants = {
            "cells": prior.canvas.cells,
            "share": prior.canvas.share,
            "sites": prior.canvas.sites,
            "site_cells": prior.canvas.site_cells,
            "map_rows": _sub_pixels(self.layout, self.config.canvas_resolution),
            "encoding": self._on_canvas(prior.encoding.T[None], prior.canvas.cells, prior.canvas.share),
            "base_positions": gaussians.positions,
            "base_quaternions": gaussians.quaternions_wxyz,
            "base_log_scales": gaussians.log_scales,
            "base_opacity": gaussians.opacity_logits,
            "base_colors": prior.colors,
            "outward": prior.outward,
            "spread": prior.spread,
            "scalp": prior.shell.mask,
        }
        for name, value in constants.items():
            self.register_buffer(name, value.clone(), persistent=False)

    def _on_canvas(self, values: Tensor, cells: Tensor, share: Tensor) -> Tensor:
        """(B, C, N) -> (B, C, r, r): means over each cell's pixels, zero in empty ones."""
        side = self.config.canvas_resolution
        canvas = values.new_zeros(*values.shape[:2], side * side)
        return canvas.index_add_(2, cells, values * share).view(*values.shape[:2], side, side)

    # ------------------------------------------------------------------ the pass

    def prepare(self, frames: Sequence[tuple[TrackedSequence, int]]) -> Sources:
        """One subject's frames as this generator takes them (B = 1); see `prepare_sources`."""
        config = self.config
        return prepare_sources(
            frames,
            self.head,
            self.layout,
            config.image_size,
            canvas_resolution=config.canvas_resolution,
            shell=config.cues,
            rim=config.rim,
            shoulders=config.shoulders,
        )

    def encode(self, sources: Sources) -> UVFeatures:
        """Everything that depends on the sources only.

        Raises:
            UserError: There are not 1 to 4 of them.
        """
        config = self.config
        batch, count = sources.images.shape[:2]
        check_count(count)
        images, mattes = sources.images.flatten(0, 1), sources.mattes.flatten(0, 1)
        if images.shape[-1] != config.encoder_size:
            size = (config.encoder_size, config.encoder_size)
            both = functional.interpolate(torch.cat([images, mattes], 1), size, mode="bilinear", antialias=True)
            images, mattes = both[:, :3], both[:, 3:]
        features, codes = self.encoder(images, mattes)
        features, codes = features.unflatten(0, (batch, count)), codes.unflatten(0, (batch, count))

        pixels, visibility = sources.pixels[:, :, self.sites], sources.visibility[:, :, self.sites]
        colors = warp(sources.images, sources.pixels, sources.size)  # (B, K, 3, N)
        parts = [warp(features, pixels, sources.size), colors[:, :, :, self.sites]]
        if config.visibility_channel:
            parts.append(visibility[:, :, None])
        warped = torch.cat(parts, 2)
        pooled, code = self.pool(warped, visibility, codes)
        side = config.canvas_resolution
        canvas = pooled.new_zeros(batch, pooled.shape[1], side * side)
        canvas[:, :, self.site_cells] = pooled
        canvas = canvas.view(batch, -1, side, side)
        candidates = None
        if config.cues:
            with torch.no_grad():
                shown = sources.shown if config.masked else None
                candidates = candidate_colors(colors, sources.visibility, self.prior, self.cells, self.share, shown)
                cues = torch.cat(
                    [
                        candidates.colors.flatten(2).transpose(1, 2),  # (B, 9, N)
                        candidates.seen[:, None],
                        candidates.mirrored[:, None],
                        # Of hair alone: shoulders are as broad as the mattes say, whatever the network thinks.
                        10 * (sources.shell * (self.scalp > 0))[:, None],
                    ],
                    1,
                )
                cues = self._on_canvas(cues, self.cells, self.share)
            canvas = torch.cat([canvas, cues, self.encoding.expand(batch, -1, -1, -1)], 1)
        rows = self.unet(canvas, code)
        # Rows of all subjects in one list: the backward pass of that selection is three times as fast.
        first = rows.shape[1] * torch.arange(batch, device=rows.device)[:, None]
        maps = rows.flatten(0, 1).index_select(0, (first + self.map_rows).flatten()).unflatten(0, (batch, -1))
        return UVFeatures(maps, sources.shell, candidates)

    def decode(self, features: UVFeatures, view_direction: Tensor, condition: Tensor) -> GeneratorOutput:
        """The Gaussians for one target frame each.

        Args:
            features: Of `encode`, B subjects.
            view_direction: (B, 3) of the target (Eq. 6), as `view_direction` makes it.
            condition: (B, E + 12) of the target's motion.
        """
        return self.decode_from_code(features, view_code(view_direction), condition)

    def decode_from_code(self, features: UVFeatures, gamma: Tensor, condition: Tensor) -> GeneratorOutput:
        """The same from the view code (B, 27) itself, in which it is twice differentiable."""
        config = self.config
        raw = self.heads(features.maps, gamma)
        offsets = config.position_bound * torch.tanh(raw["position"][..., :3])
        shell = features.shell
        if config.hair_bound > 0:
            # One unit of the head's output is a centimetre, near zero.
            grown = bounded(0.01 * raw["position"][..., 3], config.hair_bound) * self.scalp
            offsets = offsets + grown[..., None] * self.outward
        scale_offsets = bounded(raw["log_scale"], config.scale_bound)
        positions = self.base_positions + shell[..., None] * self.outward + offsets
        log_scales = self.base_log_scales + torch.log1p(shell / self.spread)[..., None] + scale_offsets
        neutral = BatchedGaussians(
            positions=positions,
            quaternions_wxyz=self.base_quaternions + bounded(raw["rotation"], 1.0),
            log_scales=log_scales,
            opacity_logits=self.base_opacity + raw["opacity"][..., 0],
            colors=self._colors(raw["color"], features.candidates),
        )
        if self.residual is None:
            return GeneratorOutput(neutral, neutral, {}, offsets, scale_offsets)
        residuals = self.residual(features.maps, condition)
        changed = with_residuals(positions, neutral.quaternions_wxyz, log_scales, neutral.colors, residuals)
        local = BatchedGaussians(changed[0], changed[1], changed[2], neutral.opacity_logits, changed[3])
        return GeneratorOutput(local, neutral, residuals, offsets, scale_offsets)

    def _colors(self, raw: Tensor, candidates: Candidates | None) -> Tensor:
        """(B, N, 3) in (0, 1): a correction of the believed candidates, or of the part's typical colour."""
        if candidates is None:
            base = self.base_colors.expand(*raw.shape[:2], 3)
        else:
            shares = (candidates.log_weights + raw[..., 3:]).softmax(-1)
            base = (shares[..., None] * candidates.colors).sum(-2)
        return (base.clamp(SAFE, 1 - SAFE).logit() + raw[..., :3]).sigmoid()

    def forward(self, sources: Sources, view_direction: Tensor, condition: Tensor) -> GeneratorOutput:
        """`encode`, then `decode`."""
        return self.decode(self.encode(sources), view_direction, condition)
