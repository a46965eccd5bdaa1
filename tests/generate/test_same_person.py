"""Two people among the sources are noticed, one person under other light is not; and a note says so."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from spatialavatar.generate.feed_forward import generate_avatar
from spatialavatar.generate.same_person import face_pixels, resemblance, strangers
from spatialavatar.progress import Advance
from spatialavatar.sequence.sequence import MemoryFrames, TrackedSequence
from tests.generate.small import SMALL, layout, person, small_generator
from tests.synthetic import subject


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        yield lambda steps=1, note="": None

    def note(self, text: str) -> None:
        self.lines.append(text)


def mixed() -> TrackedSequence:
    """Three photos: a person, the same one turned and in other light, and somebody painted otherwise."""
    mine = person().sequence
    other = subject(frames=5, size=96, resolution=48, seed=7).sequence
    ramp = np.linspace(0.55, 0.9, 96)[None, :, None]
    images = {
        "a": mine.image(0).numpy(),
        "b": (mine.image(1).numpy() * ramp).astype(np.uint8),
        "c": other.image(0).numpy(),
    }
    mattes = {"a": mine.matte(0).numpy(), "b": mine.matte(1).numpy(), "c": other.matte(0).numpy()}
    chosen = mine.select([0, 1, 0])
    source = {"files": ["me.jpg", "again.jpg", "you.jpg"]}
    return replace(chosen, names=("a", "b", "c"), kind="photos", source=source, frames=MemoryFrames(images, mattes))


def test_two_people_are_told_apart() -> None:
    generator, sequence = small_generator(), mixed()
    head = generator.head
    pairs = resemblance(generator.prepare([(sequence, frame) for frame in range(3)]), head, layout())
    assert pairs[0, 1] > 0.8 and pairs[0, 2] < 0.6 and pairs[1, 2] < 0.6, pairs
    face = face_pixels(head, layout())
    assert 0.1 < float(face.float().mean()) < 0.7
    same = generator.prepare([(sequence, 0), (sequence, 1)])
    assert strangers(same, head, layout(), ["a", "b"]) is None


def test_the_warning_names_the_photos() -> None:
    notes = Notes()
    generate_avatar(mixed(), small_generator(SMALL), [0, 1, 2], notes)
    assert len(notes.lines) == 1 and "you.jpg" in notes.lines[0] and "two people" in notes.lines[0]
    notes.lines.clear()
    generate_avatar(mixed(), small_generator(SMALL), [0, 1], notes)
    assert notes.lines == []


def test_views_without_common_skin_are_not_compared() -> None:
    generator, sequence = small_generator(), mixed()
    sources = generator.prepare([(sequence, 0), (sequence, 2)])
    hidden = replace(sources, visibility=torch.zeros_like(sources.visibility))
    assert resemblance(hidden, generator.head, layout()) == {}
