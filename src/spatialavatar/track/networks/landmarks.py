"""MediaPipe's two landmark models: 478 points of one face in a region of a picture."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.track.networks.network import Network
from spatialavatar.track.networks.region import Region, face_region

MESH, ALL = 468, 478
# The outer corners of the eyes, by which a face's turn is measured.
_RIGHT_CORNER, _LEFT_CORNER = 33, 263
_LEAST_PRESENCE = 0.5

# Which landmarks the finer networks give, in their order; numbers of MediaPipe's published face mesh.
_LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
)
_RIGHT_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
_RIGHT_EYE = (
    *_RIGHT_LIDS,
    *(130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190),
    *(226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189),
    *(35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193),
)
_LEFT_LIDS = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
_LEFT_EYE = (
    *_LEFT_LIDS,
    *(359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414),
    *(446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413),
    *(265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285),
    417,
)
_RIGHT_IRIS, _LEFT_IRIS = tuple(range(468, 473)), tuple(range(473, 478))


class LandmarkModel(Protocol):
    """Landmarks of the face that a region of a picture shows."""

    def find(self, image: NDArray[np.uint8], region: Region) -> NDArray[np.float32] | None:
        """(478, 3) pixels, the third being depth on the same scale; None where the region shows no face."""
        ...


class AttentionMesh:
    """The model with finer networks for the lips, the eyes and the irises."""

    _PARTS = (_LIPS, _RIGHT_EYE, _LEFT_EYE, _RIGHT_IRIS, _LEFT_IRIS)
    # The file names its parts from the other side: the left eye's are at smaller x, as the mesh's right eye.
    _OUTPUTS = ((1, 1, 1, 3 * MESH), *((1, 1, 1, 2 * len(part)) for part in _PARTS), (1, 1, 1, 1))
    _SIZE = 192

    def __init__(self, network: Network) -> None:
        """
        Raises:
            UserError: The network is not this model.
        """
        if network.input_shape != (1, self._SIZE, self._SIZE, 3) or network.output_shapes != self._OUTPUTS:
            raise UserError("this is not MediaPipe's face landmark model with attention.", where=network.where)
        self._network = network

    def find(self, image: NDArray[np.uint8], region: Region) -> NDArray[np.float32] | None:
        mesh, *parts, presence = self._network(_seen(image, region, self._SIZE))
        if not _is_face(presence):
            return None
        points = np.zeros((ALL, 3), np.float32)
        points[:MESH] = mesh.reshape(-1, 3)
        for numbers, part in zip(self._PARTS, parts, strict=True):
            points[list(numbers), :2] = part.reshape(-1, 2)
        # The finer networks give no depth: an iris lies as deep as the eye's edge does.
        for iris, lids in ((_RIGHT_IRIS, _RIGHT_LIDS), (_LEFT_IRIS, _LEFT_LIDS)):
            points[list(iris), 2] = points[list(lids), 2].mean(dtype=np.float64)
        return _placed(points, self._SIZE, region)


class PlainMesh:
    """The model of `face_landmarker.task`: one network for all points."""

    _SIZE = 256
    _OUTPUTS = ((1, 1, 1, 3 * ALL), (1, 1, 1, 1), (1, 1))

    def __init__(self, network: Network) -> None:
        """
        Raises:
            UserError: The network is not this model.
        """
        if network.input_shape != (1, self._SIZE, self._SIZE, 3) or network.output_shapes != self._OUTPUTS:
            raise UserError("this is not a face landmarker's landmark model.", where=network.where)
        self._network = network

    def find(self, image: NDArray[np.uint8], region: Region) -> NDArray[np.float32] | None:
        points, presence, _ = self._network(_seen(image, region, self._SIZE))
        return _placed(points.reshape(-1, 3), self._SIZE, region) if _is_face(presence) else None


def next_region(points: NDArray[np.float32]) -> Region:
    """Where the face will be looked for in the next picture of a video: around where it is in this one."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return face_region(np.concatenate([low, high]), points[_RIGHT_CORNER, :2], points[_LEFT_CORNER, :2])


def _seen(image: NDArray[np.uint8], region: Region, size: int) -> NDArray[np.float32]:
    return region.see(image, size, replicate=True).astype(np.float32) / np.float32(255)


def _is_face(presence: NDArray[np.float32]) -> bool:
    return bool(1 / (1 + np.exp(-float(presence.reshape(-1)[0]))) > _LEAST_PRESENCE)


def _placed(points: NDArray[np.float32], size: int, region: Region) -> NDArray[np.float32]:
    """(478, 3) pixels of what the network sees -> pixels of the picture."""
    shares = points / np.float32(size)
    return np.concatenate([region.to_picture(shares[:, :2]), shares[:, 2:] * np.float32(region.width)], 1)
