"""A refinement step by the compiled kernel, without torch in between: bind, draw, compare, differentiate, Adam, clamp.

`torch_step.work_by_torch` is the same step to read, and what the tests hold this one against.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spatialavatar import _native
from spatialavatar.avatar.binding import Binding
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.refine.config import RefineConfig
from spatialavatar.refine.frame_store import StoredFrame
from spatialavatar.refine.masks import chin_row
from spatialavatar.splat import threads  # noqa: F401  (sets the size of the kernels' thread pool)
from spatialavatar.splat.box import Box
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.render import check_camera

if TYPE_CHECKING:
    from spatialavatar.refine.refinement import Refinement

FIRST_DECAY, SECOND_DECAY = 0.9, 0.999
"""Of Adam's moments; torch's defaults."""
CORRECTED = ("position", "rotation", "log_scale", "color")
"""Attributes that a residual head corrects, in the kernel's order."""


class FusedStep:
    """The kernel with a run's parameters, which it changes in place. Mutable: it keeps buffers between steps.

    Args:
        values: (N, .) parameters by name, in the order of `refine.refinement.ATTRIBUTES`.
        optimiser: Adam over these, whose moments are used and changed.
        start: What tethers lead to, and what views from aside are compared with.
        anchors: (N, 3) what the tether of positions leads to; may be changed between steps.
        anchor_weight: Of that tether.
        bounds: Of `anti_spike.scale_range`.
        binding: Of the Gaussians.
        config: Of the run.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        optimiser: torch.optim.Optimizer,
        start: LocalGaussians,
        anchors: Tensor,
        anchor_weight: float,
        bounds: tuple[Tensor, Tensor],
        binding: Binding,
        config: RefineConfig,
    ):
        self.optimiser = optimiser
        self.values = list(values.values())
        spike = config.anti_spike
        lowest, highest = bounds
        states: list[dict[str, Tensor]] = []
        for value in self.values:
            state = optimiser.state[value]
            if not state:
                state |= {
                    "step": torch.zeros(()),
                    "exp_avg": torch.zeros_like(value),
                    "exp_avg_sq": torch.zeros_like(value),
                }
            states.append(state)
        self.taken = int(states[0]["step"])
        self.steps = [state["step"] for state in states]
        self.kernel = _native.RefineSteps(
            faces=binding.faces_int32.numpy(),
            first_of_face=binding.first_of_face.numpy(),
            corners=binding.corners.numpy(),
            first_of_vertex=binding.first_of_vertex.numpy(),
            vertices_count=binding.num_vertices,
            values=[value.detach().numpy() for value in self.values],
            first_moments=[state["exp_avg"].numpy() for state in states],
            second_moments=[state["exp_avg_sq"].numpy() for state in states],
            starts=[getattr(start, field.name).contiguous().numpy() for field in fields(start)],
            anchors=anchors.numpy(),
            lowest=lowest.contiguous().numpy(),
            highest=highest.contiguous().numpy(),
        )
        self.settings = _native.RefineSettings()
        self.settings.l1_weight, self.settings.ssim_weight = config.l1_weight, config.ssim_weight
        self.settings.aspect_threshold = spike.aspect_threshold
        self.settings.own_aspect_factor = spike.own_aspect_factor
        self.settings.own_aspect_threshold = spike.own_aspect_threshold
        self.settings.clamp, self.settings.spread = spike.clamp, spike.spread
        self.settings.position_tether = anchor_weight
        self.settings.log_scale_tether = config.tethers.log_scale
        self.settings.color_tether = config.tethers.color
        self.settings.opacity_tether = config.tethers.opacity
        self.settings.hidden_evidence = config.hidden_evidence
        self.settings.epsilons = list(config.learning_rates.epsilons)
        self.side_gradients: list[Tensor] = []
        self.cameras: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(
        self,
        frame: int,
        stored: StoredFrame,
        camera: Camera,
        vertices: Tensor,
        background: Tensor,
        rates: Sequence[float],
        aspect_weight: float,
        *,
        disregard_from: int | None = None,
        filmed: Box | None = None,
        moving: Tensor | None = None,
        weight: Tensor | None = None,
        corrections: Mapping[str, Tensor] | None = None,
        extra: Sequence[Tensor | None] | None = None,
        grad_vertices: Tensor | None = None,
        grad_positions: Tensor | None = None,
        grad_colors: Tensor | None = None,
    ) -> float:
        """One step on one frame; returns the loss before it.

        Args:
            frame: Its number, by which its camera is known again.
            stored, camera, vertices: Its pixels, its camera, and the posed mesh (V, 3).
            background: (3,) colour that both sides stand on.
            rates: Learning rates of the attributes.
            aspect_weight: Of both aspect losses; 0 leaves them out.
            disregard_from: From this row on, pixels in which nobody is are compared with themselves.
            filmed: (x0, x1, y0, y1) pixels; all others are compared with themselves too.
            moving: (N,) 1 where parameters move and 0 elsewhere; everywhere if None.
            weight: (N,) evidence: what has less than `hidden_evidence` is drawn in the background's colour.
            corrections: What a residual head adds to the attributes of `CORRECTED`.
            extra: Gradients of other losses by the parameters, added to those of this step.
            grad_vertices: (V, 3) receives the mesh's gradient.
            grad_positions, grad_colors: (N, 3) receive those by corrections of positions and colours, where Gaussians
                move; without tethers and `extra`.
        """
        self.taken += 1
        for step in self.steps:
            step.fill_(self.taken)
        first = 1 - FIRST_DECAY**self.taken
        settings = self.settings
        settings.step_sizes = [rate / first for rate in rates]
        settings.second_correction = math.sqrt(1 - SECOND_DECAY**self.taken)
        settings.aspect_weight = aspect_weight
        settings.background = background.tolist()
        camera_from_world, intrinsics = self._camera(frame, camera)
        return float(
            self.kernel.step(
                settings,
                vertices.detach().contiguous().numpy(),
                camera_from_world,
                intrinsics,
                camera.width,
                camera.height,
                stored.image.numpy(),
                stored.matte.numpy(),
                list(stored.box),
                camera.height if disregard_from is None else disregard_from,
                list(filmed or (0, camera.width, 0, camera.height)),
                _numpy(moving),
                _numpy(weight),
                None if corrections is None else [corrections[name].contiguous().numpy() for name in CORRECTED],
                None if extra is None else [None if value is None else value.contiguous().numpy() for value in extra],
                _numpy(grad_vertices),
                _numpy(grad_positions),
                _numpy(grad_colors),
            )
        )

    def side_view(
        self,
        vertices: Tensor,
        camera: Camera,
        background: Tensor,
        weight: float,
        coarse: int,
        *,
        moving: Tensor | None = None,
        corrections: Mapping[str, Tensor] | None = None,
    ) -> tuple[float, list[Tensor]]:
        """`side_views.side_loss` times its weight, and its gradients.

        Args:
            vertices: (V, 3) of the posed mesh.
            camera: Where to look from.
            background: (3,).
            weight: Of the loss.
            coarse: How coarsely pictures are compared.
            moving: (N,) 1 where parameters move and 0 elsewhere; everywhere if None.
            corrections: What a residual head adds to the attributes of `CORRECTED`, the avatar's and the start's.

        Returns:
            The loss, and its gradients by the parameters, as `__call__` takes them for `extra`; of groups of Gaussians
            in which nothing moves they are 0. Good until the next call.
        """
        check_camera(camera)
        if not self.side_gradients:
            self.side_gradients = [torch.empty_like(value, requires_grad=False) for value in self.values]
        loss = self.kernel.side_view(
            vertices.detach().contiguous().numpy(),
            camera.camera_from_world.double().contiguous().numpy(),
            camera.intrinsics.double().contiguous().numpy(),
            camera.width,
            camera.height,
            background.tolist(),
            weight,
            coarse,
            _numpy(moving),
            None if corrections is None else [corrections[name].contiguous().numpy() for name in CORRECTED],
            [gradient.numpy() for gradient in self.side_gradients],
        )
        return float(loss), self.side_gradients

    def _camera(self, frame: int, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """A frame's camera as the kernel wants it, checked once."""
        if frame not in self.cameras:
            check_camera(camera)
            world, pinhole = camera.camera_from_world.double(), camera.intrinsics.double()
            self.cameras[frame] = (world.contiguous().numpy(), pinhole.contiguous().numpy())
        return self.cameras[frame]


def work_by_kernel(
    run: Refinement,
    frame: int,
    vertices: Tensor,
    background: Tensor,
    aspect_weight: float,
    extra: Sequence[Tensor | None] | None = None,
) -> float:
    """`torch_step.work_by_torch`, with the same arguments, in one call of the compiled kernel."""
    config = run.config
    grad_vertices = torch.empty_like(vertices, requires_grad=False) if vertices.requires_grad else None
    correctives = run.learned_correctives
    felt = {} if correctives is None else correctives.gradients
    loss = fused_of(run)(
        frame,
        run.store.frames[frame],
        run.sequence.camera(frame),
        vertices,
        background,
        [group["lr"] for group in run.optimiser.param_groups],
        aspect_weight,
        disregard_from=None if config.body_outline else chin_row(run.sequence, frame),
        filmed=run.sequence.filmed(frame),
        moving=run.moving if config.hold_unseen else None,
        weight=run.weight if config.hold_unseen else None,
        corrections=run.corrections(frame),
        extra=extra,
        grad_vertices=grad_vertices,
        grad_positions=felt.get("position"),
        grad_colors=felt.get("color"),
    )
    if grad_vertices is not None:
        vertices.backward(grad_vertices)
    return loss


def side_view_by_kernel(
    run: Refinement, frame: int, vertices: Tensor, camera: Camera, background: Tensor
) -> tuple[float, list[Tensor]]:
    """A view from aside in one call of the compiled kernel: its weighted loss, and gradients for `extra`."""
    config = run.config
    return fused_of(run).side_view(
        vertices,
        camera,
        background,
        run.side_weight,
        config.side_views.coarse,
        moving=run.moving if config.hold_unseen else None,
        corrections=run.corrections(frame),
    )


def fused_of(run: Refinement) -> FusedStep:
    """A run's kernel, made when it is first asked for."""
    if run.fused is None:
        arguments = (run.start, run.anchors, run.anchor_weight, run.scale_range, run.binding, run.config)
        run.fused = FusedStep(run.parameters, run.optimiser, *arguments)
    return run.fused


def _numpy(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.numpy()
