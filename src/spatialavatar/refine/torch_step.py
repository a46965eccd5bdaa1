"""The work of a refinement step in torch: the form to read, and the truth that the compiled kernel is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spatialavatar.avatar.binding import world_from_local
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.refine.anti_spike import clamp_log_scales_, own_aspect_loss
from spatialavatar.refine.config import Tethers
from spatialavatar.refine.masks import ignore_mask
from spatialavatar.splat.aspect import aspect_loss
from spatialavatar.splat.box import joined
from spatialavatar.splat.photometric import l1_ssim
from spatialavatar.splat.render import render

if TYPE_CHECKING:
    from spatialavatar.refine.refinement import Refinement


def work_by_torch(
    run: Refinement,
    frame: int,
    vertices: Tensor,
    background: Tensor,
    aspect_weight: float,
    extra: Sequence[Tensor | None] | None = None,
) -> float:
    """Draw a frame, make its loss (Eq. 5) smaller by one step of Adam, clamp.

    Args:
        run: Whose parameters and moments change.
        frame: Of the training frames.
        vertices: (V, 3) posed mesh; gets its gradient where it wants one.
        background: (3,) colour that both sides stand on (Eq. 13).
        aspect_weight: Of both aspect losses; 0 leaves them out.
        extra: Gradients of other losses by the parameters, added to those of this one.

    Returns:
        The loss before the step.
    """
    config, settings = run.config, run.config.anti_spike
    world = world_from_local(run.local_in(frame), vertices, run.binding)
    if config.hold_unseen:
        # What nobody sees has a colour of its own every time, so no surface gains by being transparent to it.
        hidden = run.weight < config.hidden_evidence
        world = replace(world, colors=torch.where(hidden[:, None], background, world.colors))
    rendering = render(world, run.sequence.camera(frame), background)
    # Outside of what was drawn and of the matte, both sides are the background.
    box = joined(run.store.frames[frame].box, rendering.box)
    target = run.store.target(frame, background)
    if run.sequence.source_boxes is not None or not config.body_outline:
        target = torch.where(
            ignore_mask(run.sequence, run.store, frame, body_outline=run.config.body_outline),
            rendering.image.detach(),
            target,
        )
    loss = l1_ssim(rendering.image, target, config.l1_weight, config.ssim_weight, crop=box)
    if aspect_weight > 0:
        stretched = aspect_loss(rendering.projected.covariances2d, settings.aspect_threshold)
        own = own_aspect_loss(run.parameters["log_scale"], run.footprint, settings)
        stretched = stretched + settings.own_aspect_factor * own
        loss = loss + aspect_weight * stretched
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if run.learned_correctives is not None:
        # What is added to a value has the value's gradient.
        for name, felt in run.learned_correctives.gradients.items():
            gradient = run.parameters[name].grad
            felt.zero_() if gradient is None else felt.copy_(gradient)
            if config.hold_unseen:
                felt.mul_(run.moving[:, None])
    for value, gradient in zip(run.parameters.values(), extra or (), strict=False):
        if gradient is not None and value.grad is not None:
            value.grad.add_(gradient)
    pull_tethers(run.parameters, run.start, run.anchors, replace(config.tethers, position=run.anchor_weight))
    if config.hold_unseen:
        for value in run.parameters.values():
            if value.grad is not None:
                value.grad.mul_(run.moving if value.dim() == 1 else run.moving[:, None])
    run.optimiser.step()
    with torch.no_grad():
        if settings.clamp:
            clamp_log_scales_(run.parameters["log_scale"], run.scale_range, settings)
        run.parameters["color"].clamp_(0, 1)
    return float(loss.detach())


@torch.no_grad()
def pull_tethers(parameters: Mapping[str, Tensor], start: LocalGaussians, anchors: Tensor, tethers: Tethers) -> None:
    """Add to the gradients what draws Gaussians back to what they were, and to the places in `anchors` (N, 3)."""
    for name, weight, held in (
        ("position", tethers.position, anchors),
        ("log_scale", tethers.log_scale, start.log_scales),
        ("color", tethers.color, start.colors),
    ):
        value = parameters[name]
        if weight > 0 and value.grad is not None:
            value.grad.add_(value - held, alpha=weight)
    opacity = parameters["opacity"].grad
    if opacity is not None:
        opacity.sub_(tethers.opacity)
