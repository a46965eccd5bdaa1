"""Stage 1 at work: tracked frames in, an avatar out, in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.residual import ATTRIBUTES, Residual
from spatialavatar.errors import UserError
from spatialavatar.generate.generator import Generator, UVFeatures, neutral_gaussians
from spatialavatar.generate.inputs import check_count
from spatialavatar.generate.same_person import strangers
from spatialavatar.generate.view_code import view_direction
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.sequence import TrackedSequence


def generate_avatar(
    sequence: TrackedSequence,
    generator: Generator,
    frames: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Avatar:
    """The avatar of the person in `frames`, with the frozen residual head inside.

    The view code, which changes from picture to picture in training, is held at the first source's view.

    Args:
        sequence: Tracked photos or video.
        generator: Trained, or not: an untrained compact one gives about the texture start.
        frames: 1 to 4 of its frames; by default all of up to four photos.
        progress: Is told when the frames look like two people's.

    Raises:
        UserError: Not 1 to 4 frames, one of them without a face, or tracked with another head.
    """
    frames = list(range(len(sequence))) if frames is None else list(frames)
    check_count(len(frames))
    for frame in frames:
        if not 0 <= frame < len(sequence):
            raise UserError(f"there is no frame {frame} in a sequence of {len(sequence)}.", where=sequence.folder)
    device = next(generator.parameters()).device
    with torch.no_grad():
        sources = generator.prepare([(sequence, frame) for frame in frames])
        if sequence.kind == "photos":
            warning = strangers(sources, generator.head, generator.layout, _source_names(sequence, frames))
            if warning is not None:
                (progress or Silent()).note(warning)
        features = generator.encode(sources.to(device))
        first = frames[:1]
        direction = view_direction(
            sequence.camera_from_world[first], sequence.motion[first], generator.config.view_frame
        ).to(device)
        condition = sequence.motion[frames[0]].condition().to(device)
        output = generator.decode(features, direction, condition)
        gaussians = neutral_gaussians(output).to("cpu")
        residual = frozen_residual(generator, features)
    provenance = {
        "start": "generator",
        "start_frames": [sequence.names[frame] for frame in frames],
        "generator": generator.config.encoder,
    }
    return Avatar(
        head=generator.head,
        layout=generator.layout,
        identity=sequence.identity,
        gaussians=gaussians,
        provenance=provenance,
        residual=residual,
    )


def _source_names(sequence: TrackedSequence, frames: Sequence[int]) -> list[str]:
    """What a person calls the frames: the photos' files where they are known."""
    files = sequence.source.get("files")
    known = isinstance(files, list) and len(files) == len(sequence)
    return [str(files[frame]) if known else f"frame {sequence.names[frame]}" for frame in frames]  # type: ignore[index]


def frozen_residual(generator: Generator, features: UVFeatures, index: int = 0) -> Residual | None:
    """The residual head as one subject's avatar keeps it, its features rounded to float16; None without one."""
    head = generator.residual
    if head is None:
        return None

    def kept(value: Tensor) -> Tensor:
        return value.detach().to("cpu", torch.float32).clone()

    layers = [head.convolutions[name] for name in ATTRIBUTES]
    return Residual(
        features=kept(features.maps[index].to(torch.float16)),
        hidden_weight=kept(head.hidden.weight),
        hidden_bias=kept(head.hidden.bias),
        film_weight=kept(head.film.weight),
        film_bias=kept(head.film.bias),
        weights=torch.cat([kept(layer.weight) for layer in layers]),  # type: ignore[arg-type]
        biases=torch.cat([kept(layer.bias) for layer in layers]),  # type: ignore[arg-type]
    )
