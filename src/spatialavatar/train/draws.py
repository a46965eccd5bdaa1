"""Which pictures make a training item (§3.2, §4.2, App. A.2).

Everything follows from (seed, step, item): a run that was killed, or that runs in more processes, draws the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import torch

from spatialavatar.errors import UserError
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.train.config import DrawConfig
from spatialavatar.train.difficulty import Looks, dissimilarity, looks_of, source_probabilities
from spatialavatar.train.schedule import temperature


class Stream(IntEnum):
    """What a random stream is for; each is independent of the others."""

    SOURCES = 0
    ITEM = 1
    PICTURE = 2
    PROBE = 3
    NETWORK = 4
    MATTE = 5


def stream(seed: int, purpose: Stream, step: int, item: int = 0) -> np.random.Generator:
    """The random stream of one purpose at one step, for one item."""
    return np.random.default_rng([seed, int(purpose), step, item])


class Subject(Protocol):
    """One person: a name, and the same instants seen by one or more cameras."""

    @property
    def name(self) -> str: ...

    @property
    def cameras(self) -> Sequence[TrackedSequence]: ...


@dataclass(frozen=True)
class View:
    """One picture of a subject: camera and frame by index."""

    camera: int
    frame: int


@dataclass(frozen=True)
class Draw:
    """K sources and a target, or several, of the same person."""

    subject: int
    sources: tuple[View, ...]
    targets: tuple[View, ...]
    cross_time: bool
    """Whether the sources are of other times than the targets."""


@dataclass(frozen=True)
class Catalogue:
    """What is drawn from.

    frames: Per subject and camera the frames whose motion was observed.
    looks: Per subject how all frames of all cameras look, one camera after the other.
    offsets: Per subject and camera the row of its first frame there.
    """

    frames: tuple[tuple[tuple[int, ...], ...], ...]
    looks: tuple[Looks, ...]
    offsets: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.frames)

    def look(self, subject: int, views: Sequence[View]) -> Looks:
        """Rows for some pictures."""
        offsets = self.offsets[subject]
        return self.looks[subject][[offsets[view.camera] + view.frame for view in views]]


def make_catalogue(subjects: Sequence[Subject], config: DrawConfig) -> Catalogue:
    """Look through the subjects once.

    Raises:
        UserError: There is none; a clip has too few frames for K + 1 different ones; Phase 2 has a subject whose
            cameras are not synchronous; or no subject has two cameras.
    """
    if not subjects:
        raise UserError("there is no subject to train on.", hint="Make some with `spatialavatar synth`.")
    if not 1 <= config.least_sources <= config.most_sources <= 4:
        raise UserError(f"K runs from {config.least_sources} to {config.most_sources}; it must lie within 1 to 4.")
    if config.targets < 1:
        raise UserError(f"an item has at least one target; config.draw.targets is {config.targets}.")
    needed = config.most_sources + config.targets
    frames, looks, offsets = [], [], []
    for subject in subjects:
        valid = [tuple(torch.nonzero(camera.is_valid)[:, 0].tolist()) for camera in subject.cameras]
        for camera, usable in zip(subject.cameras, valid, strict=True):
            if len(usable) < needed:
                raise UserError(
                    f"{subject.name} has {len(usable)} usable frames; {config.most_sources} sources and "
                    f"{config.targets} target(s) need {needed}.",
                    where=camera.folder,
                    hint="Leave it out, or lower config.draw.most-sources.",
                )
        if config.phase == "multiview":
            # One instant is one index in all cameras; a frame that one camera misses is dropped for all.
            if len({len(camera) for camera in subject.cameras}) > 1:
                raise UserError(f"the cameras of {subject.name} have different numbers of frames.")
            shared = tuple(sorted(set(valid[0]).intersection(*valid[1:])))
            if len(shared) < needed:
                raise UserError(f"the cameras of {subject.name} share only {len(shared)} usable frames.")
            valid = [shared] * len(valid)
        frames.append(tuple(valid))
        looks.append(Looks.cat([looks_of(camera) for camera in subject.cameras]))
        offsets.append(tuple(accumulate((len(camera) for camera in subject.cameras[:-1]), initial=0)))
    if config.phase == "multiview" and config.cross_time < 1 and all(len(f) == 1 for f in frames):
        raise UserError("Phase 2 needs subjects seen by several cameras; all of these have one.")
    return Catalogue(tuple(frames), tuple(looks), tuple(offsets))


def draw_count(config: DrawConfig, seed: int, step: int) -> int:
    """K of a step, uniform; the same for all its items, which are computed together."""
    return int(stream(seed, Stream.SOURCES, step).integers(config.least_sources, config.most_sources + 1))


def draw_item(catalogue: Catalogue, config: DrawConfig, seed: int, step: int, total: int, item: int) -> Draw:
    """The item of this number at this step of `total`."""
    count = draw_count(config, seed, step)
    random = stream(seed, Stream.ITEM, step, item)
    subject = _draw_subject(catalogue, config, random)
    frames = catalogue.frames[subject]
    cameras = len(frames)
    if config.phase == "monocular":
        cross_time = True
        camera = int(random.integers(cameras))
        pool = [View(camera, frame) for frame in frames[camera]]
        targets = _some(pool, config.targets, random)
        candidates = [view for view in pool if view not in targets]
    else:
        # Too few cameras for K sources and the targets: the item goes across time instead.
        cross_time = bool(random.random() < config.cross_time) or cameras < count + config.targets
        if cross_time:
            camera = int(random.integers(cameras))
            times = _some(list(frames[0]), config.targets, random)
            targets = [View(camera, frame) for frame in times]
            others = [frame for frame in frames[0] if frame not in times]
            # At K = 1 the source is of the targets' own camera; with more, each is of any.
            candidates = [View(camera if count == 1 else int(random.integers(cameras)), frame) for frame in others]
        else:
            instant = int(random.choice(frames[0]))
            pool = [View(camera, instant) for camera in range(cameras)]
            targets = _some(pool, config.targets, random)
            candidates = [view for view in pool if view not in targets]
    heat = temperature(step, total, config)
    chosen = _choose(candidates, targets[0], catalogue, subject, config, heat, count, random)
    return Draw(subject, chosen, tuple(targets), cross_time)


def _draw_subject(catalogue: Catalogue, config: DrawConfig, random: np.random.Generator) -> int:
    """Uniform over everybody, or over those with one camera and those with several apart."""
    if config.phase == "multiview" and config.rehearsal is not None:
        kinds: tuple[list[int], list[int]] = ([], [])
        for index, frames in enumerate(catalogue.frames):
            kinds[len(frames) == 1].append(index)
        several, single = kinds
        if single and several:
            people = single if random.random() < config.rehearsal else several
            return people[int(random.integers(len(people)))]
    return int(random.integers(len(catalogue)))


def _some(pool: list[Any], count: int, random: np.random.Generator) -> list[Any]:
    """`count` different members, uniformly."""
    return [pool[int(index)] for index in random.choice(len(pool), size=count, replace=False)]


def _choose(
    candidates: list[View],
    target: View,
    catalogue: Catalogue,
    subject: int,
    config: DrawConfig,
    heat: float,
    count: int,
    random: np.random.Generator,
) -> tuple[View, ...]:
    """`count` different candidates: the first by difficulty, the others uniformly."""
    if config.difficulty:
        looks, wanted = catalogue.look(subject, candidates), catalogue.look(subject, [target])
        probabilities = source_probabilities(dissimilarity(looks, wanted, config), heat).numpy()
        first = int(random.choice(len(candidates), p=probabilities / probabilities.sum()))
    else:
        first = int(random.integers(len(candidates)))
    rest = [index for index in range(len(candidates)) if index != first]
    others = random.choice(rest, size=count - 1, replace=False).tolist() if count > 1 else []
    return tuple(candidates[index] for index in [first, *others])
