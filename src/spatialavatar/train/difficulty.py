"""How far a source is from a target: the difficulty of a training item (§4.2, "source sampler")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spatialavatar.generate.view_code import view_direction
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.train.config import DrawConfig


@dataclass(frozen=True)
class Looks:
    """How the head is seen in M pictures.

    directions: (M, 3) the camera's axis in the head's frame: turning the head and moving the camera are the same.
    expressions: (M, E + 3) expression and jaw.
    """

    directions: Tensor
    expressions: Tensor

    def __getitem__(self, index: Tensor | list[int]) -> Looks:
        return Looks(self.directions[index], self.expressions[index])

    @staticmethod
    def cat(parts: list[Looks]) -> Looks:
        return Looks(torch.cat([p.directions for p in parts]), torch.cat([p.expressions for p in parts]))


def looks_of(sequence: TrackedSequence) -> Looks:
    """One row per frame."""
    motion = sequence.motion
    return Looks(
        view_direction(sequence.camera_from_world, motion), torch.cat([motion.expression, motion.jaw_rotation], 1)
    )


def dissimilarity(candidates: Looks, target: Looks, config: DrawConfig) -> Tensor:
    """(M,) for M candidates and one target: the weighted sum of the angle between directions, radians, and the
    Euclidean distance of expressions."""
    cosine = (candidates.directions @ target.directions[0]).clamp(-1, 1)
    distance = (candidates.expressions - target.expressions).norm(dim=1)
    return config.camera_weight * cosine.acos() + config.expression_weight * distance


def source_probabilities(dissimilarities: Tensor, temperature: float) -> Tensor:
    """(M,) softmax: the hotter, the more even; the colder, the more often a hard source."""
    return torch.softmax(dissimilarities.double() / temperature, 0)
