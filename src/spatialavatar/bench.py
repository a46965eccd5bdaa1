"""How fast this machine is: the parts that people wait for, each against its slower twin in one run.

A made-up subject serves: one Gaussian per UV pixel of the open head, as refinement leaves them, seen from the front.
Where other programs run beside it, medians tell what they cost too; minima and ratios tell what the code costs.
"""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialavatar import _native
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.surface import local_points, pixel_footprints
from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.refine.config import RefineConfig, SideViews
from spatialavatar.refine.refinement import Refinement
from spatialavatar.sequence.sequence import MemoryFrames, TrackedSequence
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.photometric import l1_ssim
from spatialavatar.splat.render import render

WARM_UP = 3
PHASES = ("bind, project", "sort", "blend", "compose, compare", "undo blending", "derivatives, Adam")
"""Of a refinement step; see `native/refine_context.hpp`."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds: of the wall clock, but `processor`, which adds up what all threads used."""

    median: float
    p95: float
    minimum: float
    processor: float


@dataclass(frozen=True)
class Row:
    """One thing measured; `ratio` says how many times as long its slower twin takes, by minima."""

    name: str
    size: int
    threads: int
    timing: Timing
    ratio: float | None = None
    twin: str = ""


def timed(work: Callable[[], object], seconds: float, least: int = 8) -> Timing:
    """Repeat something for some seconds, and at least so many times."""
    for _ in range(WARM_UP):
        work()
    samples: list[float] = []
    began, used = time.perf_counter(), time.process_time()
    while len(samples) < least or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        samples.append(1e3 * (time.perf_counter() - start))
    processor = 1e3 * (time.process_time() - used) / len(samples)
    return Timing(statistics.median(samples), float(np.percentile(samples, 95)), min(samples), processor)


def subject(size: int, gaussians: int = 58_000, frames: int = 4) -> tuple[Avatar, TrackedSequence]:
    """An avatar with about so many Gaussians, and frames (size x size) of itself with other colours."""
    head = load_open_head()
    layout = build_uv_layout(head, 256)
    if abs(gaussians / len(layout) - 1) > 0.01:
        layout = build_uv_layout(head, round(256 * math.sqrt(gaussians / len(layout))))
    identity, generator = torch.zeros(head.num_identities), torch.Generator().manual_seed(0)
    footprint, count = pixel_footprints(head, layout, head.template), len(layout)
    across = footprint.scales.log() + 0.4 * torch.randn(count, 2, generator=generator)
    turn, zero = footprint.angles / 2, torch.zeros(count)
    points = layout.surface_points(head.template, head.faces)
    waves = torch.stack([(90 * points[:, axis] + axis).sin() for axis in range(3)], dim=-1)
    local = LocalGaussians(
        positions=local_points(layout, head.template, head.faces),
        quaternions_wxyz=torch.stack([turn.cos(), zero, turn.sin(), zero], dim=-1),
        log_scales=torch.stack([across[:, 0], across.mean(-1) - 1.2, across[:, 1]], dim=-1),
        opacity_logits=1.5 + 1.5 * torch.randn(count, generator=generator),
        colors=(0.5 + 0.3 * waves).clamp(0, 1),
    )
    avatar = Avatar(head, layout, identity, local)
    motion = Motion.neutral(frames, head.num_expressions)
    motion.neck_rotation[:, 1] = torch.linspace(-0.3, 0.3, frames)
    motion = replace(motion, translation=avatar.rest.translation.expand(frames, 3).contiguous())
    camera = avatar.default_camera(size)
    noise = 0.2 * torch.randn(count, 3, generator=generator)
    other = replace(avatar, gaussians=replace(local, colors=(local.colors + noise).clamp(0, 1)))
    pictures = other.stream(camera).batch(motion)
    names = tuple(f"{index:05d}" for index in range(frames))
    shown = {name: picture.numpy() for name, picture in zip(names, pictures, strict=True)}
    sequence = TrackedSequence(
        head_edition=head.edition,
        identity=identity,
        motion=motion,
        camera_from_world=camera.camera_from_world.expand(frames, 4, 4).contiguous(),
        intrinsics=camera.intrinsics.expand(frames, 3, 3).contiguous(),
        width=size,
        height=size,
        frame_rate=25.0,
        names=names,
        frames=MemoryFrames(
            {name: np.ascontiguousarray(picture[..., :3]) for name, picture in shown.items()},
            {name: np.ascontiguousarray(picture[..., 3]) for name, picture in shown.items()},
        ),
    )
    return avatar, sequence


def step_of(avatar: Avatar, sequence: TrackedSequence, *, by_kernel: bool = True) -> Refinement:
    """A refinement in its long middle: shapes are free, all losses count, evidence is measured."""
    run = Refinement(avatar, sequence, RefineConfig(side_views=SideViews(every=0), light_at=(0.0,)))
    run.measure_evidence()
    run.find_light()
    run.fraction = run.config.correctives.after
    run.iteration, run.by_kernel = late(run), by_kernel
    return run


def late(run: Refinement) -> int:
    """The first iteration in which nothing of the schedule is still to begin."""
    spike = run.config.anti_spike
    return max(spike.freeze_iterations, spike.aspect_after) + 1


def steps(run: Refinement) -> Callable[[], float]:
    """Its steps alone, without the measurement of evidence in between."""

    def step() -> float:
        run.iteration = late(run)
        return run.step()

    return step


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """The kernels with so many threads, torch with one (as refinement sets it)."""
    before, torch_before = _native.threads(), torch.get_num_threads()
    _native.set_threads(count)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _native.set_threads(before)
        torch.set_num_threads(torch_before)


def measure(size: int, threads: int, seconds: float, gaussians: int = 58_000) -> list[Row]:
    """All rows of one picture size and number of threads; each measurement takes about so many seconds."""
    avatar, sequence = subject(size, gaussians)
    camera, motion = sequence.camera(0), sequence.motion
    background = torch.tensor([0.2, 0.5, 0.9])
    rows: list[Row] = []

    def add(name: str, work: Callable[[], object], twin: str = "", slower: Callable[[], object] | None = None) -> None:
        timing = timed(work, seconds)
        ratio = None if slower is None else timed(slower, seconds).minimum / timing.minimum
        rows.append(Row(name, size, threads, timing, ratio, twin))

    with threads_set(threads):
        with torch.no_grad():
            world = avatar.pose(motion[0])
        leaves = WorldGaussians(*(tensor.detach().requires_grad_() for tensor in vars(world).values()))
        target = render(world, camera, background).image.detach()

        def forward_backward() -> None:
            render(leaves, camera, background).image.backward(target)

        def loss() -> Tensor:
            image = (target * 0.9).requires_grad_()
            value = l1_ssim(image, target)
            value.backward()
            return value

        stream = avatar.stream(camera)
        frames = [motion[index] for index in range(len(motion))]
        turn = iter(range(10**9))
        add(
            "pose and draw",
            lambda: stream.draw(frames[next(turn) % len(frames)]),
            "render",
            lambda: avatar.render(frames[0], camera),
        )
        add("rasterise", lambda: render(world, camera, background))
        add("rasterise, and back", forward_backward)
        add("L1 + SSIM, and back", loss)
        run = step_of(avatar, sequence)
        plain = step_of(avatar, sequence, by_kernel=False)
        add("refinement step", steps(run), "torch", steps(plain))
    return rows


def phases_of_step(size: int, threads: int, seconds: float, gaussians: int = 58_000) -> dict[str, float]:
    """Mean milliseconds of each phase of a refinement step, and of what Python does around the kernel."""
    avatar, sequence = subject(size, gaussians)
    with threads_set(threads):
        step = step_of(avatar, sequence)
        work = steps(step)
        for _ in range(WARM_UP):
            work()
        assert step.fused is not None
        before, began, count = step.fused.kernel.phases, time.perf_counter(), 0
        while count < 8 or time.perf_counter() - began < seconds:
            work()
            count += 1
        whole = time.perf_counter() - began
        spent = [after - start for after, start in zip(step.fused.kernel.phases, before, strict=True)]
    milliseconds = [1e3 * value / count for value in (*spent, whole - sum(spent))]
    return dict(zip((*PHASES, "around the kernel"), milliseconds, strict=True))


def machine() -> dict[str, Any]:
    """What was measured on."""
    name = platform.processor()
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": name or platform.machine(),
        "threads": _native.threads(),
        "instruction_set": _native.instruction_set(),
        "system": platform.system(),
        "torch": torch.__version__,
    }


def as_report(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows as JSON values."""
    return [asdict(row) for row in rows]
