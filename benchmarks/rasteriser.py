"""Time the CPU kernels on a head: one Gaussian per UV pixel of the open head, 58,000 of them as on FLAME's.

    python benchmarks/rasteriser.py                      # the table of docs/, about two minutes
    python benchmarks/rasteriser.py --threads 1 4 8 --sizes 512 --json rasteriser.json

Every figure is the median of the repeats, with the minimum in brackets: on a shared machine the two tell apart what the
code costs and what the neighbours cost. A refinement step is all of Stage 2's work on one frame: pose the mesh, bind,
render, L1 + SSIM + L_aspect, backward, Adam.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import spatialavatar  # noqa: F401  (before torch: it sets how torch's threads wait)

# isort: split
import torch
from torch import Tensor

from spatialavatar import _native
from spatialavatar.avatar.binding import Binding, make_binding, world_from_local
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.surface import local_points, pixel_footprints
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import UVLayout, build_uv_layout
from spatialavatar.splat.aspect import aspect_loss
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.photometric import l1_ssim
from spatialavatar.splat.render import render
from spatialavatar.splat.threads import set_threads

WARM_UP = 5


def head_gaussians(head: Head, layout: UVLayout, generator: torch.Generator) -> LocalGaussians:
    """Gaussians as refinement leaves them: on the surface, flat, a little stretched, most of them opaque."""
    footprint = pixel_footprints(head, layout, head.template)
    count = len(layout)
    stretch = 0.4 * torch.randn(count, 2, generator=generator)
    across = footprint.scales.log() + stretch  # (N, 2) along and across the pixel's longer axis
    thin = across.mean(-1) - 1.2
    turn = footprint.angles / 2
    zero = torch.zeros(count)
    points = layout.surface_points(head.template, head.faces)
    waves = torch.stack([(90 * points[:, axis] + axis).sin() for axis in range(3)], dim=-1)
    noise = torch.randn(count, 3, generator=generator)
    return LocalGaussians(
        positions=local_points(layout, head.template, head.faces),
        quaternions_wxyz=torch.stack([turn.cos(), zero, turn.sin(), zero], dim=-1),
        log_scales=torch.stack([across[:, 0], thin, across[:, 1]], dim=-1),
        opacity_logits=1.5 + 1.5 * torch.randn(count, generator=generator),
        colors=(0.5 + 0.3 * waves + 0.05 * noise).clamp(0, 1),
    )


def portrait_camera(head: Head, size: int) -> Camera:
    low, high = head.template.amin(0), head.template.amax(0)
    center = (low + high) / 2
    return Camera.look_at(center + torch.tensor([0.1, 0.05, 1.0]), center, width=size, height=size)


def timed(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median and minimum in ms."""
    samples = []
    for index in range(WARM_UP + repeats):
        start = time.perf_counter()
        work()
        if index >= WARM_UP:
            samples.append(1e3 * (time.perf_counter() - start))
    return {"median": statistics.median(samples), "minimum": min(samples)}


def time_rendering(world: WorldGaussians, camera: Camera, repeats: int) -> dict[str, dict[str, float]]:
    leaves = WorldGaussians(
        *(tensor.detach().requires_grad_() for tensor in vars(world).values())
    )  # the dataclass' fields, in order
    background = torch.tensor([0.2, 0.5, 0.9])
    gradients = [torch.randn(3, camera.height, camera.width).permute(1, 2, 0), torch.randn(camera.height, camera.width)]
    forward, both = [], []

    def once() -> None:
        start = time.perf_counter()
        rendering = render(leaves, camera, background)
        middle = time.perf_counter()
        torch.autograd.backward([rendering.image, rendering.alpha], gradients)
        end = time.perf_counter()
        for tensor in vars(leaves).values():
            tensor.grad = None
        forward.append(1e3 * (middle - start))
        both.append(1e3 * (end - middle))

    timed(once, repeats)
    summary = {}
    for name, samples in (("forward", forward[WARM_UP:]), ("backward", both[WARM_UP:])):
        summary[name] = {"median": statistics.median(samples), "minimum": min(samples)}
    return summary


def refinement_step(
    head: Head, binding: Binding, local: LocalGaussians, camera: Camera, *, move_mesh: bool
) -> Callable[[], None]:
    """A function that does one step of Stage 2 on one frame, like `spatialavatar.refine` does."""
    identity = head.prepare_identity(torch.zeros(1))
    neutral = Motion.neutral(1, head.num_expressions)
    expression, jaw = neutral.expression.clone(), neutral.jaw_rotation.clone()
    parameters = [tensor.detach().clone().requires_grad_() for tensor in vars(local).values()]
    moved = [expression.requires_grad_(), jaw.requires_grad_()] if move_mesh else []
    optimiser = torch.optim.Adam(
        [{"params": parameters, "lr": 1e-5}, {"params": [*moved, torch.zeros(1)], "lr": 1e-6}], fused=True
    )
    background = torch.tensor([0.7, 0.6, 0.5])

    def vertices() -> Tensor:
        motion = Motion(**{**vars(neutral), "expression": expression, "jaw_rotation": jaw})
        return head.pose(identity, motion)[0]

    with torch.no_grad():
        resting = vertices()
        noise = torch.randn(local.colors.shape, generator=torch.Generator().manual_seed(1))
        world = world_from_local(local, resting, binding)
        other = WorldGaussians(*list(vars(world).values())[:4], (world.colors + 0.2 * noise).clamp(0, 1))
        rendering = render(other, camera, background)
        target = rendering.image
        rows, columns = torch.where(rendering.alpha > 0)
        box = (int(columns.min()), int(columns.max()) + 1, int(rows.min()), int(rows.max()) + 1)

    def step() -> None:
        mesh = vertices() if move_mesh else resting
        posed = world_from_local(LocalGaussians(*parameters), mesh, binding)
        drawn = render(posed, camera, background)
        loss = l1_ssim(drawn.image, target, crop=box) + 0.5 * aspect_loss(drawn.projected.covariances2d, 1.386)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="image sides, pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--gaussians", type=int, default=58_000, help="about how many: sets the UV layout's resolution")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", type=Path, default=Path("rasteriser.report.json"))
    arguments = parser.parse_args()

    head = load_open_head()
    layout = build_uv_layout(head, 256)
    layout = build_uv_layout(head, round(256 * math.sqrt(arguments.gaussians / len(layout))))
    binding = make_binding(head.faces, layout.triangles, head.num_vertices)
    local = head_gaussians(head, layout, torch.Generator().manual_seed(0))
    world = world_from_local(local, head.template, binding)

    report: dict[str, object] = {
        "gaussians": len(layout),
        "processor": platform.processor() or platform.machine(),
        "instruction_set": _native.instruction_set(),
        "torch": torch.__version__,
        "unit": "ms",
    }
    rows: list[dict[str, object]] = []
    print(f"{len(layout):,} Gaussians, instruction set {report['instruction_set']}; ms: median (minimum)")
    columns = ("forward", "backward", "loss", "binding", "step", "step, mesh too")
    print("  ".join([f"{'size':>5}", f"{'threads':>7}", *(f"{name:>15}" for name in columns)]))
    for threads in arguments.threads:
        set_threads(threads)
        for size in arguments.sizes:
            camera = portrait_camera(head, size)
            results = time_rendering(world, camera, arguments.repeats)
            with torch.no_grad():
                image = render(world, camera).image
            noisy = (image + 0.1 * torch.rand_like(image)).detach().requires_grad_()
            results["loss"] = timed(lambda: l1_ssim(noisy, image).backward(), arguments.repeats)  # noqa: B023
            results["binding"] = timed(binding_pass(local, head, binding), arguments.repeats)
            for name, move_mesh in (("step", False), ("step, mesh too", True)):
                step = refinement_step(head, binding, local, camera, move_mesh=move_mesh)
                results[name] = timed(step, arguments.repeats)
            rows.append({"size": size, "threads": threads, **results})
            cells = [f"{results[name]['median']:6.1f} ({results[name]['minimum']:.1f})" for name in columns]
            print("  ".join([f"{size:>5}", f"{threads:>7}", *(f"{cell:>15}" for cell in cells)]), flush=True)
    report["results"] = rows
    arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {arguments.json}")


def binding_pass(local: LocalGaussians, head: Head, binding: Binding) -> Callable[[], None]:
    """Forward and backward of the binding, gradients of the mesh included."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in vars(local).values()]
    vertices = head.template.clone().requires_grad_()

    def once() -> None:
        world = world_from_local(LocalGaussians(*leaves), vertices, binding)
        outputs = [world.positions, world.quaternions_wxyz, world.scales]
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])

    return once


if __name__ == "__main__":
    main()
