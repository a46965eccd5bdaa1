"""What moves a head from frame to frame: expression, rotations of its joints, and where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

_WIDTHS = {
    "global_rotation": 3,
    "neck_rotation": 3,
    "jaw_rotation": 3,
    "eyes_rotation": 6,
    "translation": 3,
    "neck_translation": 3,
}


@dataclass(frozen=True)
class Motion:
    """Expression and pose of B frames. Rotations are axis-angle vectors in radians, lengths are metres.

    `expression`, `global_rotation`, `jaw_rotation` and `eyes_rotation` are FLAME's inputs (App. A.1). The neck, which
    the paper absorbs in the camera, has its own rotation and translation here: the head of a tracked person moves
    apart from the body.
    """

    expression: Tensor
    """(B, E) coefficients of the head's expression basis."""
    global_rotation: Tensor
    """(B, 3) rotation of everything about the root joint."""
    neck_rotation: Tensor
    """(B, 3) rotation of the head about the neck joint."""
    jaw_rotation: Tensor
    """(B, 3) rotation of the jaw; positive x opens the mouth."""
    eyes_rotation: Tensor
    """(B, 6) rotation of the left eye, then of the right eye; positive x looks down, positive y to the left."""
    translation: Tensor
    """(B, 3) added to every vertex last."""
    neck_translation: Tensor
    """(B, 3) shift of the neck joint on the body, in the body's frame (it turns with `global_rotation`); zero for
    FLAME's data."""

    def __post_init__(self) -> None:
        batch = self.expression.shape[0] if self.expression.ndim == 2 else None
        if batch is None:
            raise ValueError(f"expression must have the shape (B, E), not {tuple(self.expression.shape)}")
        for name, width in _WIDTHS.items():
            shape = tuple(getattr(self, name).shape)
            if shape != (batch, width):
                raise ValueError(f"{name} must have the shape {(batch, width)}, not {shape}")

    def __len__(self) -> int:
        return self.expression.shape[0]

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Motion:
        """Some of the frames; an integer gives a motion of one frame."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"frame {index} of a motion of {len(self)} frames")
            index = slice(index, index + 1 if index != -1 else None)
        return Motion(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def __iter__(self) -> Iterator[Motion]:
        return (self[i] for i in range(len(self)))

    def to(self, device: torch.device | str | torch.dtype) -> Motion:
        """The same motion on another device or in another floating-point type."""
        return Motion(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def detach(self) -> Motion:
        """The same values, cut from the autograd graph."""
        return Motion(**{field.name: getattr(self, field.name).detach() for field in fields(self)})

    def condition(self) -> Tensor:
        """(B, E + 12) expression, global rotation, jaw and eyes: what the residual head sees (§3.2, App. A.1)."""
        return torch.cat([self.expression, self.global_rotation, self.jaw_rotation, self.eyes_rotation], dim=-1)

    @staticmethod
    def neutral(
        batch: int = 1,
        expressions: int = 52,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Motion:
        """`batch` frames at rest, for a head with `expressions` expressions."""
        widths = {"expression": expressions, **_WIDTHS}
        return Motion(**{name: torch.zeros(batch, width, device=device, dtype=dtype) for name, width in widths.items()})

    @staticmethod
    def cat(motions: Sequence[Motion]) -> Motion:
        """All frames of the given motions, in order."""
        if not motions:
            raise ValueError("no motions to join")
        return Motion(**{f.name: torch.cat([getattr(m, f.name) for m in motions]) for f in fields(Motion)})
