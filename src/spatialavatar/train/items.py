"""Draws turned into tensors: sources as the generator takes them, targets as the losses compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.generate.config import GeneratorConfig, ViewFrame
from spatialavatar.generate.inputs import BACKGROUND, Sources, prepare_sources
from spatialavatar.generate.sources import project_points
from spatialavatar.generate.view_code import view_direction
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.uv import UVLayout
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.camera import Camera
from spatialavatar.train.config import TrainConfig
from spatialavatar.train.draws import Catalogue, Draw, Stream, Subject, draw_item, make_catalogue, stream
from spatialavatar.train.loose_mattes import loosened
from spatialavatar.train.pictures import PictureStore
from spatialavatar.train.pixels import Box, dilated_box


@dataclass(frozen=True, eq=False)
class Target:
    """One picture to be met.

    picture: (3, H, W) over `background`.
    background: (3,).
    camera: Of that size, or of a whole multiple of it.
    vertices: (V, 3) the posed mesh.
    condition: (E + 12,) of the frame's motion.
    direction: (3,) view direction (Eq. 6).
    box: The dilated face box.
    """

    picture: Tensor
    background: Tensor
    camera: Camera
    vertices: Tensor
    condition: Tensor
    direction: Tensor
    box: Box

    def to(self, device: torch.device) -> Target:
        """On another device; the camera stays where it is."""
        names = ("picture", "background", "vertices", "condition", "direction")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


@dataclass(frozen=True, eq=False)
class Item:
    """One training item: K sources (B = 1) and its targets."""

    sources: Sources
    targets: tuple[Target, ...]
    draw: Draw


@dataclass(frozen=True)
class Tone:
    """A change of exposure, white balance and gamma: value -> gain * value^gamma, per channel."""

    gains: tuple[float, float, float]
    gamma: float

    def __call__(self, values: Tensor) -> Tensor:
        """(3, H, W) in [0, 1] -> the same."""
        return (values.clamp(1e-4, 1) ** self.gamma * values.new_tensor(self.gains)[:, None, None]).clamp(0, 1)


def draw_tone(random: np.random.Generator, strength: float) -> Tone | None:
    """A random one; None at strength 0. Four numbers are drawn either way."""
    exposure, *white = random.normal(size=4)
    gamma = random.normal()
    if strength == 0:
        return None
    gains = [float(np.exp(strength * (0.2 * exposure + 0.1 * channel))) for channel in white]
    return Tone((gains[0], gains[1], gains[2]), float(np.exp(0.2 * strength * gamma)))


def make_target(
    sequence: TrackedSequence,
    frame: int,
    pixels: tuple[Tensor, Tensor],
    head: Head,
    background: Tensor,
    box_dilation: float,
    tone: Tone | None = None,
    oversampling: int = 1,
    view_frame: ViewFrame = "head",
) -> Target:
    """A frame as a target.

    Args:
        sequence, frame: Which one.
        pixels: Its colour and matte, from `scaled_frame`.
        head: The sequence's head.
        background: (3,) to lie over.
        box_dilation: Of the face box.
        tone: Change of the colours, if any.
        oversampling: The camera's size as a multiple of the picture's.
        view_frame: The generator's, for the view direction.
    """
    straight, matte = (part.float() / 255 for part in pixels)
    if tone is not None:
        straight = tone(straight)
    color = background[:, None, None]
    full = sequence.camera(frame)
    camera = full.scaled((straight.shape[2], straight.shape[1]))
    with torch.no_grad():
        vertices = head.pose(head.prepare_identity(sequence.identity), sequence.motion[frame])[0]
        face = face_points(vertices, head)
        on_face, _ = project_points(face, camera.camera_from_world, camera.intrinsics)
    return Target(
        picture=color + matte * (straight - color),
        background=background,
        camera=camera
        if oversampling == 1
        else full.scaled((oversampling * camera.width, oversampling * camera.height)),
        vertices=vertices,
        condition=sequence.motion[frame].condition()[0],
        direction=view_direction(camera.camera_from_world, sequence.motion[frame], view_frame)[0],
        box=dilated_box(on_face, box_dilation, camera.width, camera.height),
    )


def face_points(vertices: Tensor, head: Head) -> Tensor:
    """(L, 3) points that span the face: its landmarks, or for a head without an embedding the foremost third of it."""
    try:
        return load_landmarks(head).points(vertices, head.faces)
    except UserError:
        depth = head.template[:, 2]
        return vertices[depth >= depth.quantile(0.67)]


class ItemMaker:
    """Items by step and number: a pure function of the configuration and the data, whatever was made before."""

    def __init__(self, subjects: Sequence[Subject], head: Head, layout: UVLayout, config: TrainConfig):
        for subject in subjects:
            for camera in subject.cameras:
                if camera.head_edition != head.edition:
                    raise UserError(
                        f"{subject.name} was tracked with the head {camera.head_edition}, and training uses "
                        f"{head.edition}.",
                        where=camera.folder,
                        hint="A generator belongs to one edition of the head: make or track the set again.",
                    )
        self.subjects, self.head, self.layout, self.config = subjects, head, layout, config
        self.catalogue: Catalogue = make_catalogue(subjects, config.draw)
        self.store = PictureStore()

    def make(self, step: int, number: int) -> Item:
        """The item of this number at this step."""
        config = self.config
        draw = draw_item(self.catalogue, config.draw, config.seed, step, config.steps, number)
        random = stream(config.seed, Stream.PICTURE, step, number)
        tone = draw_tone(random, config.image.color_augmentation)
        shifts = torch.from_numpy(random.normal(size=(len(draw.sources), 2))).float()
        cameras = self.subjects[draw.subject].cameras
        views = [(cameras[view.camera], view.frame) for view in draw.sources]
        if config.image.source_matte > 0:
            # A stream of its own: runs made before there was this keep their numbers.
            away = stream(config.seed, Stream.MATTE, step, number).normal(size=len(views)) * config.image.source_matte
            views = [
                (loosened(camera, float(share) * max(camera.width, camera.height)), frame)
                for (camera, frame), share in zip(views, away, strict=True)
            ]
        sources = prepare(views, self.head, self.layout, config.generator)
        if tone is not None:
            sources = toned(sources, tone)
        if config.image.source_shift > 0:
            moved = sources.pixels + config.image.source_shift * sources.size * shifts[None, :, None]
            sources = replace(sources, pixels=moved)
        targets = []
        for view in draw.targets:
            color = {"white": torch.ones(3), "black": torch.zeros(3)}.get(
                config.image.background, torch.from_numpy(random.random(3)).float()
            )
            sequence = cameras[view.camera]
            key = (draw.subject, view.camera, view.frame)
            pixels = self.store.frame(key, sequence, view.frame, config.image.size)
            # One choice takes no draw: runs made before there was one keep their numbers.
            factors = config.image.oversampling
            factor = factors[0] if len(factors) == 1 else int(factors[random.integers(len(factors))])
            dilation = config.loss.box_dilation
            targets.append(
                make_target(
                    sequence, view.frame, pixels, self.head, color, dilation, tone, factor, config.generator.view_frame
                )
            )
        return Item(sources, tuple(targets), draw)


def prepare(
    frames: list[tuple[TrackedSequence, int]], head: Head, layout: UVLayout, config: GeneratorConfig
) -> Sources:
    """Frames as the generator of this configuration takes them."""
    return prepare_sources(
        frames,
        head,
        layout,
        config.image_size,
        canvas_resolution=config.canvas_resolution,
        shell=config.cues,
        rim=config.rim,
        shoulders=config.shoulders,
    )


def toned(sources: Sources, tone: Tone) -> Sources:
    """The same pictures with changed colours; their plain background stays."""
    mattes = sources.mattes[0]
    straight = (sources.images[0] - BACKGROUND) / mattes.clamp_min(0.05) + BACKGROUND
    changed = torch.stack([tone(picture) for picture in straight])
    return replace(sources, images=(BACKGROUND + mattes * (changed - BACKGROUND))[None])
