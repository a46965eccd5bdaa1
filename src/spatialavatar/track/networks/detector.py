"""MediaPipe's two face detectors: one for faces that fill the picture, one for smaller ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.track.networks.network import Network
from spatialavatar.track.networks.region import Region, face_region, letterbox

Range = Literal["short", "full"]

# Side of the input; per scale its stride and how many boxes each of its cells predicts; MediaPipe's least score.
_LAYOUTS: dict[Range, tuple[int, tuple[tuple[int, int], ...], float]] = {
    "short": (128, ((8, 2), (16, 6)), 0.5),
    "full": (192, ((4, 1),), 0.6),
}
# A box gives its centre, its size and 6 key points.
_VALUES = 16
_RIGHT_EYE, _LEFT_EYE = 0, 1
# Beyond it the logistic function is 0 or 1 in 32 bits.
_STEEPEST = 80.0
# Boxes that overlap by more are taken for one face.
_SAME_FACE = 0.3


@dataclass(frozen=True)
class Detection:
    """A face.

    Attributes:
        score: How sure the network is, in [0, 1].
        box: (4,) left, top, right and bottom in pixels.
        points: (6, 2) eyes, nose, mouth and ears in pixels.
    """

    score: float
    box: NDArray[np.float32]
    points: NDArray[np.float32]

    @property
    def region(self) -> Region:
        """Where its landmarks are to be looked for."""
        return face_region(self.box, self.points[_RIGHT_EYE], self.points[_LEFT_EYE])

    @property
    def box_region(self) -> Region:
        """The same with the box's own sides, as MediaPipe's face landmarker takes it."""
        return face_region(self.box, self.points[_RIGHT_EYE], self.points[_LEFT_EYE], square=False)


class Detector:
    """Finds faces in a picture of any size."""

    def __init__(self, network: Network, kind: Range) -> None:
        """
        Raises:
            UserError: The network is not this detector.
        """
        self._size, scales, self._least_score = _LAYOUTS[kind]
        self._anchors = _anchors(self._size, scales)
        expected = ((1, len(self._anchors), _VALUES), (1, len(self._anchors), 1))
        if network.input_shape != (1, self._size, self._size, 3) or network.output_shapes != expected:
            raise UserError(f"this is not MediaPipe's face detector for {kind} range.", where=network.where)
        self._network = network

    def find(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Faces in (H, W, 3) uint8, surest first."""
        square = letterbox(image.shape[1], image.shape[0])
        seen = square.see(image, self._size, replicate=False)
        raw, logits = self._network(seen.astype(np.float32) * (2 / 255) - 1)
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -_STEEPEST, _STEEPEST)))
        kept = np.flatnonzero(scores >= self._least_score)
        pairs = raw[0, kept].reshape(-1, _VALUES // 2, 2) / self._size
        centres = pairs[:, 0] + self._anchors[kept]
        half, points = pairs[:, 1] / 2, pairs[:, 2:] + self._anchors[kept, None]
        found = np.concatenate([(centres - half)[:, None], (centres + half)[:, None], points], 1)
        real = (half >= 0).all(1)
        return [
            Detection(score, square.to_picture(face[:2]).reshape(4), square.to_picture(face[2:]))
            for score, face in _merge(scores[kept][real], found[real])
        ]


def _anchors(size: int, scales: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
    """(N, 2) middles of the cells, as shares of the picture, in the order of the network's boxes."""
    rows = []
    for stride, count in scales:
        middles = (np.arange(size // stride) + 0.5) * stride / size
        down, across = np.meshgrid(middles, middles, indexing="ij")
        rows.append(np.repeat(np.stack([across, down], -1).reshape(-1, 2), count, axis=0))
    return np.concatenate(rows).astype(np.float32)


def _merge(scores: NDArray[np.float32], faces: NDArray[np.float32]) -> list[tuple[float, NDArray[np.float32]]]:
    """One of all boxes (N, 8, 2) that overlap: their mean, weighted by scores, with the best one's score."""
    order = np.argsort(-scores, kind="stable")
    merged = []
    while len(order):
        overlap = _overlap(faces[order[0], :2], faces[order, :2])
        same = order[overlap > _SAME_FACE]
        if not len(same):  # A box without an area overlaps nothing, not even itself.
            merged.append((float(scores[order[0]]), faces[order[0]]))
            order = order[1:]
            continue
        weights = scores[same] / scores[same].sum()
        merged.append((float(scores[order[0]]), np.asarray(np.tensordot(weights, faces[same], 1), np.float32)))
        order = order[overlap <= _SAME_FACE]
    return merged


def _overlap(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of a box (2, 2) with boxes (N, 2, 2)."""
    shared = np.prod(np.clip(np.minimum(box[1], boxes[:, 1]) - np.maximum(box[0], boxes[:, 0]), 0, None), axis=1)
    union = np.prod(box[1] - box[0]) + np.prod(boxes[:, 1] - boxes[:, 0], axis=1) - shared
    return np.asarray(shared / np.maximum(union, 1e-12), np.float32)
