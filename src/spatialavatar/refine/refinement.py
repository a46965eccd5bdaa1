"""The state of a refinement, and one iteration of it; binding and count stay frozen (§3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.binding import make_binding, world_from_local
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.residual import Residual, both, corrected, lit_residuals, no_residuals
from spatialavatar.avatar.surface import SurfaceGraph, pixel_footprints, surface_graph
from spatialavatar.errors import UserError
from spatialavatar.random_streams import torch_stream
from spatialavatar.refine.anti_spike import clamp_log_scales_, inside_the_head, scale_range, world_aspects
from spatialavatar.refine.config import RefineConfig
from spatialavatar.refine.correctives import Correctives, learnable, without_correctives
from spatialavatar.refine.frame_store import FrameStore, StoredFrame, load_frames
from spatialavatar.refine.fused_step import FusedStep, side_view_by_kernel, work_by_kernel
from spatialavatar.refine.half_size import can_be_halved, halved_sequence, halved_store
from spatialavatar.refine.hold_out import split_frames
from spatialavatar.refine.light_fit import brightness_in, light_of
from spatialavatar.refine.masks import background_mask
from spatialavatar.refine.moving_motion import MovingMotion
from spatialavatar.refine.neighbours import Neighbourhood, narrowness, neighbourhood, neighbours_moved
from spatialavatar.refine.run_state import ATTRIBUTES, attributes_of
from spatialavatar.refine.schedule import fraction_after, is_plateau
from spatialavatar.refine.side_views import draw_yaw, head_yaws, orbited, side_loss, unseen_sides
from spatialavatar.refine.slopes import without_glare
from spatialavatar.refine.torch_step import work_by_torch
from spatialavatar.refine.unseen import evidence, follow_neighbours, shown_and_spilt, stands_outside
from spatialavatar.sequence.sequence import TrackedSequence

RANDOM_STREAMS = ("frame_order", "backgrounds", "side_views")
"""What is drawn at random in a run."""
ASPECT_EVERY = 100
"""Iterations from one look at the largest aspect to the next."""
MOST_MESHES = 4000
"""Posed meshes that are kept; those of further frames are posed again, every time."""
MOST_CORRECTIONS = 8
"""Frames of which the residual head's corrections are kept, 3 MB each: all of a run on photos."""
EVIDENCE_FRAMES = 24
"""Frames on which contributions are measured, others each time."""
SPILT_PIXELS = 1.0
"""What a Gaussian may paint where nobody is before it counts as one that the frames say something about."""
EVIDENCE_AT, EVIDENCE_EVERY = (0, 100, 250), 500
"""Iterations at which they are measured: early steps uncover most of what the start hid."""
USUAL_PHOTO_STEPS = 600
"""In runs of fewer iterations the first measurements come as much sooner: what is found late learns little."""
NEIGHBOURS_EVERY = 50
"""Iterations between looks at where the neighbours have gone."""


class Refinement:
    """One run: parameters, optimiser and random state, advanced one iteration at a time by `step`.

    Mutable on purpose: this is the training state that checkpoints hold.
    """

    def __init__(self, avatar: Avatar, sequence: TrackedSequence, config: RefineConfig):
        if sequence.head_edition != avatar.head.edition:
            raise UserError(
                f"the frames were tracked with the head {sequence.head_edition}, "
                f"and this avatar has {avatar.head.edition}.",
                where=sequence.folder,
                hint="Track them again with the avatar's head.",
            )
        avatar = without_correctives(avatar)
        self.avatar, self.sequence, self.config = avatar, sequence, config
        # A frame whose motion was filled in, because no face was found, neither teaches nor tests anything.
        training, held_out = split_frames(len(sequence), config.hold_out)
        valid = sequence.is_valid.tolist()
        self.training = [frame for frame in training if valid[frame]]
        self.held_out = [frame for frame in held_out if valid[frame]]
        if not self.training:
            raise UserError("no training frame shows a face that could be tracked.", where=sequence.folder)
        self.store: FrameStore = load_frames(sequence, self.training)
        self.whole = sequence, self.store
        """Sequence and frames at full size; what a step works on may be half of that."""
        self.identity = avatar.head.prepare_identity(avatar.identity)
        self.binding = make_binding(avatar.head.faces, avatar.layout.triangles, avatar.head.num_vertices)
        self.footprint = pixel_footprints(avatar.head, avatar.layout, self.identity.shaped_template).size
        inside = inside_the_head(avatar.head, avatar.layout)
        self.scale_range = scale_range(self.footprint, inside, config.anti_spike)
        self.start = avatar.gaussians.detach()
        if config.anti_spike.clamp:
            log_scales = self.start.log_scales.clone()
            clamp_log_scales_(log_scales, self.scale_range, config.anti_spike)
            self.start = replace(self.start, log_scales=log_scales)
        self.parameters = {
            name: value.detach().clone().float().contiguous().requires_grad_()
            for name, value in zip(ATTRIBUTES, attributes_of(self.start), strict=True)
        }
        rates = config.learning_rates
        self.base_rates = {name: float(getattr(rates, name)) for name in ATTRIBUTES}
        self.optimiser = torch.optim.Adam(
            [
                {"params": [self.parameters[name]], "lr": self.base_rates[name], "eps": epsilon}
                for name, epsilon in zip(ATTRIBUTES, rates.epsilons, strict=True)
            ],
            fused=True,
        )
        self.random = {purpose: torch_stream(config.seed, "refine", purpose) for purpose in RANDOM_STREAMS}
        """One stream for each purpose: a rule that is switched off changes what no other rule draws."""
        self.order: list[int] = []
        self.iteration = 0
        self.whole_state = True
        """Whether the state is one between two iterations, as checkpoints hold it."""
        self.fraction = 0.0
        """How far along the cosine, 0 to 1."""
        self.cool_down: tuple[int, float] | None = None
        """Iteration and fraction at which a plateau was met."""
        self.losses: list[float] = []
        self.vertices: dict[int, Tensor] = {}
        self.kept_brightness: dict[int, Tensor] = {}
        self.correctives = learnable(avatar, sequence.motion, self.training, config.correctives)
        self.light = avatar.light
        self.lights = 0
        """How often it was solved for."""
        self.largest_aspect = 0.0
        """On the way, looked at every ASPECT_EVERY iterations."""
        self.kept_corrections: dict[int, Mapping[str, Tensor]] = {}
        self.motion = MovingMotion(avatar.head, avatar.identity, sequence) if config.refine_motion else None
        # Ranges of yaw that no training frame shows.
        self.yaws = head_yaws(sequence)
        self.sides = unseen_sides(self.yaws[self.training], config.side_views) if config.side_views.every > 0 else ()
        narrow = narrowness(self.yaws[self.training], config.usual_turn_degrees)
        # Sides that no frame shows stay unseen however far the head turns to the others.
        self.side_weight = math.sqrt(narrow) * config.side_views.weight
        neighbour_weight = narrow * config.tethers.neighbours
        self.anchor_weight = config.tethers.position + neighbour_weight
        """Of the pull towards `anchors`: the sum of the pulls towards start and neighbours."""
        self.neighbour_share = neighbour_weight / self.anchor_weight if neighbour_weight > 0 else 0.0
        self.anchors = self.parameters["position"].detach().clone()
        """(N, 3) what positions are tethered to; changed in place."""
        self.moving = torch.ones(len(avatar))
        self.weight = torch.zeros(len(avatar))
        if not config.glare:
            for frame in self.training:
                self.store.frames.replace(frame, self.without_glare(frame))
        self.half = None
        if config.half_size_until > 0 and can_be_halved(sequence):
            self.half = halved_sequence(sequence), halved_store(self.store)
        self.by_kernel = all(value.device.type == "cpu" for value in self.parameters.values())
        self.fused: FusedStep | None = None

    def without_glare(self, frame: int) -> StoredFrame:
        """A training frame as it is learned from where `config.glare` is off; see `slopes`."""
        avatar = self.avatar
        looks, vertices = self.local_in(frame, self.start), self.mesh(frame)
        camera = self.sequence.camera(frame)
        stored = self.store.frames[frame]
        return without_glare(stored, looks, vertices, self.binding, avatar.head, avatar.layout, camera)

    # ------------------------------------------------------------------ one iteration

    def local(self) -> LocalGaussians:
        """The Gaussians as they stand, attached to the parameters."""
        return LocalGaussians(*(self.parameters[name] for name in ATTRIBUTES))

    def local_in(self, frame: int, local: LocalGaussians | None = None) -> LocalGaussians:
        """These, or those as they stand, under a frame's expression and light."""
        local = local or self.local()
        corrections = self.corrections(frame)
        return local if corrections is None else corrected(local, corrections)

    def corrections(self, frame: int) -> Mapping[str, Tensor] | None:
        """What the frame's expression and light change in the Gaussians; None without either.

        The light counts as an addition to the colours as they stand, like the residual head's: a colour's own gradient
        is that of what is drawn, short of a factor near 1, which Adam would divide by again.
        """
        found = self.residual_corrections(frame)
        if self.light is None:
            return found
        factors = brightness_in(self, frame)[self.binding.triangles]
        return lit_residuals(found or self.no_residuals, self.parameters["color"].detach(), factors)

    @cached_property
    def no_residuals(self) -> Mapping[str, Tensor]:
        return no_residuals(len(self.avatar), self.parameters["color"].device)

    def find_light(self) -> None:
        """Solve for the light whenever the schedule says so (see `light_fit`)."""
        due = self.config.light_at
        if self.lights >= len(due) or self.fraction < due[self.lights]:
            return
        self.lights += 1
        self.light = light_of(self)
        self.kept_brightness.clear()

    @property
    def learned_correctives(self) -> Correctives | None:
        """The correctives, once they are learned."""
        return self.correctives if self.fraction >= self.config.correctives.after else None

    def residual_corrections(self, frame: int) -> Mapping[str, Tensor] | None:
        """What a residual head and the correctives say of a frame's expression; None without either."""
        found, correctives = self.frozen_corrections(frame), self.learned_correctives
        if correctives is None:
            return found
        own = correctives.corrections(frame)
        if found is None:
            return {**self.no_residuals, **own}
        return {**found, **{name: found[name] + value for name, value in own.items()}}

    def frozen_corrections(self, frame: int) -> Mapping[str, Tensor] | None:
        """What a generated avatar's residual head says of a frame's expression; None without one. Where there are only
        a few frames, each is asked for once: the head is frozen."""
        if self.avatar.residual is None:
            return None
        found = self.kept_corrections.get(frame)
        if found is None:
            with torch.no_grad():
                found = self.avatar.residual.corrections(self.sequence.motion[frame].condition())
            if len(self.kept_corrections) < MOST_CORRECTIONS:
                self.kept_corrections[frame] = found
        return found

    def mesh(self, frame: int) -> Tensor:
        """Posed vertices (V, 3) of a training frame as it stands; while motion is frozen, each is posed once."""
        if self.motion is not None:
            with torch.no_grad():
                return self.motion.vertices(frame)
        vertices = self.vertices.get(frame)
        if vertices is None:
            with torch.no_grad():
                vertices = self.avatar.head.pose(self.identity, self.sequence.motion[frame])[0]
            if len(self.vertices) < MOST_MESHES:
                self.vertices[frame] = vertices
        return vertices

    def evidence_is_due(self) -> bool:
        """Whether it is measured before this iteration; sooner where the run is short."""
        hurry = min(1.0, self.config.iterations / USUAL_PHOTO_STEPS)
        return self.iteration in [round(hurry * at) for at in EVIDENCE_AT] or self.iteration % EVIDENCE_EVERY == 0

    def measure_evidence(self) -> None:
        """Find out which Gaussians the training frames show, and stop the others (see `unseen`)."""
        if not self.config.hold_unseen:
            return
        # At half size what a rim shows counts for less than it does in the end.
        self.work_on(*self.whole)
        stride = max(1, len(self.training) // EVIDENCE_FRAMES)
        measured = []
        outside = torch.zeros(len(self.avatar))
        for frame in self.training[self.iteration // EVIDENCE_AT[1] % stride :: stride]:
            with torch.no_grad():
                world = world_from_local(self.local_in(frame), self.mesh(frame), self.binding)
            camera = self.sequence.camera(frame)
            nobody = background_mask(self.sequence, self.store, frame, body_outline=self.config.body_outline)
            shown, spilt = shown_and_spilt(world, camera, nobody)
            measured.append(shown)
            # A large one may be hidden but for a rim, and the rim a haze beside the head.
            outside += (stands_outside(world, camera, nobody) | (spilt > SPILT_PIXELS)).float()
        # As with evidence, a handful of frames must agree.
        self.weight = torch.where(outside >= min(3, len(measured)), torch.ones(()), self.weight)
        # The most they ever contributed: what refinement made transparent was seen, and seen not to be there.
        self.weight = torch.maximum(self.weight, evidence(measured))
        self.moving = (self.weight > self.config.least_evidence).float()

    @cached_property
    def graph(self) -> SurfaceGraph:
        """Who is whose neighbour."""
        return surface_graph(self.avatar.head, self.avatar.layout, self.identity.shaped_template)

    @cached_property
    def surface(self) -> Neighbourhood:
        """The surface at rest, over which neighbours hold each other."""
        rest = self.identity.shaped_template
        return neighbourhood(rest, self.avatar.head.faces, self.avatar.layout, self.graph)

    @torch.no_grad()
    def set_anchors(self) -> None:
        """Find out where the neighbours have gone. Two weighted pulls, there and to the start, are one in between."""
        if self.neighbour_share > 0:
            moved = neighbours_moved(self.parameters["position"] - self.start.positions, self.surface)
            self.anchors.copy_(self.start.positions + self.neighbour_share * moved)

    def next_frame(self) -> int:
        """A random training frame; all of them once before any comes again."""
        if not self.order:
            self.order = torch.randperm(len(self.training), generator=self.random["frame_order"]).tolist()
        frame = self.training[self.order.pop()]
        if self.order:
            self.store.frames.expect(self.training[self.order[-1]])
        return frame

    def next_background(self) -> Tensor:
        """(3,) the colour that this iteration's frame and avatar stand before."""
        if not self.config.random_background:
            return torch.ones(3)
        return torch.rand(3, generator=self.random["backgrounds"])

    def rate_factor(self) -> float:
        """What the rates of all but the correctives are multiplied by now: at their end when those begin."""
        alone = 1.0 if self.correctives is None else self.config.correctives.after or 1.0
        return self.cosine(self.fraction / alone)

    def cosine(self, fraction: float) -> float:
        """What rates are multiplied by so far along their way."""
        final = self.config.learning_rates.final_fraction
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))

    def set_rates(self) -> None:
        settings, factor = self.config.anti_spike, self.rate_factor()
        for name, group in zip(ATTRIBUTES, self.optimiser.param_groups, strict=True):
            frozen = name == "log_scale" and self.iteration < settings.freeze_iterations
            group["lr"] = 0.0 if frozen else self.base_rates[name] * factor

    def set_size(self) -> None:
        """Work on the frames in the size that the schedule asks for now."""
        half = self.half if self.fraction < self.config.half_size_until else None
        self.work_on(*(half or self.whole))

    def work_on(self, sequence: TrackedSequence, store: FrameStore) -> None:
        """Draw and compare these frames from now on: the run's own, in one size or the other."""
        if sequence is not self.sequence:
            self.sequence, self.store = sequence, store
            if self.fused is not None:
                self.fused.cameras.clear()

    def step(self) -> float:
        """One iteration; returns its loss. The state is not whole before `advance_schedule` has followed it."""
        config, settings = self.config, self.config.anti_spike
        self.whole_state = False
        if self.evidence_is_due():
            self.measure_evidence()
        if self.iteration % NEIGHBOURS_EVERY == 0:
            self.set_anchors()
        self.find_light()
        self.set_size()
        self.set_rates()
        frame = self.next_frame()
        background = self.next_background()
        leaves: dict[str, Tensor] = {}
        if self.motion is not None and self.iteration >= config.motion_after:
            leaves = self.motion.frames.leaves([frame])
            vertices = self.motion.vertices(frame, leaves)
        else:
            vertices = self.mesh(frame)
        stretched = settings.aspect_weight > 0 and self.iteration >= settings.aspect_after
        aspect_weight = settings.aspect_weight if stretched else 0.0
        extra: Sequence[Tensor | None] | None = None
        extra_loss = 0.0
        if self.sides and (self.iteration + 1) % config.side_views.every == 0:
            extra_loss, extra = self.seen_from_aside(frame, vertices.detach(), background)
        if self.by_kernel:
            loss = work_by_kernel(self, frame, vertices, background, aspect_weight, extra)
        else:
            loss = work_by_torch(self, frame, vertices, background, aspect_weight, extra)
        loss += extra_loss
        if (correctives := self.learned_correctives) is not None:
            after = config.correctives.after
            correctives.learn(frame, self.cosine((self.fraction - after) / (1 - after)))
        if self.motion is not None and leaves:
            self.motion.move(frame, leaves, config.motion_rate * self.rate_factor())
        self.iteration += 1
        self.losses.append(loss)
        return loss

    def seen_from_aside(
        self, frame: int, vertices: Tensor, background: Tensor
    ) -> tuple[float, Sequence[Tensor | None]]:
        """How much the avatar differs from its start in a view that no frame has (see `side_views`), weighted, and the
        gradients of that by the parameters."""
        settings = self.config.side_views
        camera = self.whole[0].camera(frame).scaled(settings.size)
        round_the_head = draw_yaw(self.sides, self.random["side_views"]) - float(self.yaws[frame])
        camera = orbited(camera, vertices.mean(0), round_the_head)
        if self.by_kernel:
            return side_view_by_kernel(self, frame, vertices, camera, background)
        local, start = self.local_in(frame), self.local_in(frame, self.start)
        loss = self.side_weight * side_loss(local, start, vertices, self.binding, camera, background, settings.coarse)
        return float(loss.detach()), torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True)

    def advance_schedule(self, seconds: float) -> bool:
        """Move along the cosine after an iteration; True when the run is over."""
        if self.iteration % ASPECT_EVERY == 0:
            now = float(world_aspects(self.parameters["log_scale"].detach()).max())
            self.largest_aspect = max(self.largest_aspect, now)
        self.fraction = fraction_after(self.config, self.iteration, seconds, self.cool_down)
        if self.cool_down is None and is_plateau(self.config, self.iteration, self.losses):
            self.cool_down = (self.iteration, self.fraction)
        self.whole_state = True
        return self.fraction >= 1.0

    def result(self) -> LocalGaussians:
        """The refined Gaussians, the unseen ones following their neighbours."""
        refined = LocalGaussians(*(self.parameters[name].detach().clone() for name in ATTRIBUTES))
        if not self.config.hold_unseen:
            return refined
        self.measure_evidence()
        confidence = (self.weight / self.config.full_evidence).clamp(0, 1)
        guessed = self.avatar.provenance.get("start") == "generator" or "refined" in self.avatar.provenance
        return follow_neighbours(refined, self.start, self.moving > 0, confidence, self.graph, keep_guess=guessed)

    def residual(self) -> Residual | None:
        """The residual head as it is now: a generated avatar's, the correctives, or both in one."""
        frozen, correctives = self.avatar.residual, self.learned_correctives
        if correctives is None:
            return frozen
        own = correctives.residual()
        return own if frozen is None else both(frozen, own)
