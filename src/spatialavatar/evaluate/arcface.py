"""CSIM: whether two pictures show the same person, by any ArcFace network in ONNX form that the user has.

No such network is shipped: those at hand are licensed for research only. InsightFace's and others in its manner take
(B, 3, 112, 112) RGB in [-1, 1] of a face brought onto five reference points.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.evaluate.faces import Points

VARIABLE = "SPATIALAVATAR_ARCFACE"
VERSION = 1
SIDE = 112

# Where ArcFace's training pictures have the right and left eye, the tip of the nose and the corners of the mouth.
_REFERENCE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64
)
# The same five among MediaPipe's points: irises, nose, corners of the mouth (as the image shows them, left to right).
_POINTS = (468, 473, 4, 61, 291)
_HINT = (
    f"Name an ArcFace .onnx file with --arcface or {VARIABLE}: for example w600k_r50.onnx of InsightFace's buffalo_l "
    "(for research only), or any other that takes 112 x 112 RGB faces."
)


@dataclass(frozen=True, eq=False)
class ArcFace:
    """A network that turns faces into unit vectors."""

    session: Any
    input_name: str
    id: str
    """The file's name and the first 12 hexadecimal digits of its hash."""

    def embed(self, image: NDArray[np.uint8], points: Points) -> NDArray[np.float32]:
        """(D,) unit vector of the face with these landmarks in (H, W, 3) uint8."""
        face = aligned_face(image, points).astype(np.float32)
        (found,) = self.session.run(None, {self.input_name: (face / 127.5 - 1).transpose(2, 0, 1)[None]})[:1]
        vector = np.asarray(found, np.float32).reshape(-1)
        return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-12))


def arcface_path(path: str | os.PathLike[str] | None = None) -> Path | None:
    """The network's file: as given, or as the environment names it."""
    chosen = path or os.environ.get(VARIABLE)
    return Path(chosen) if chosen else None


def load_arcface(path: str | os.PathLike[str] | None = None) -> ArcFace:
    """Load the network.

    Raises:
        UserError: None is named, it is missing or unreadable, takes other pictures, or ONNX Runtime is not installed.
    """
    chosen = arcface_path(path)
    if chosen is None:
        raise UserError("CSIM needs an ArcFace network, and none is named.", hint=_HINT)
    if not chosen.is_file():
        raise UserError("this ArcFace network does not exist.", where=chosen, hint=_HINT)
    try:
        import onnxruntime
    except ImportError:
        raise UserError("CSIM needs ONNX Runtime.", hint="pip install 'spatialavatar[eval]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(chosen), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"this is no readable ONNX network ({str(error).splitlines()[0]}).", where=chosen) from None
    (taken, *more) = session.get_inputs()
    shape = list(taken.shape)
    if more or len(shape) != 4 or shape[1:] != [3, SIDE, SIDE]:
        raise UserError(
            f"expected a network that takes one (N, 3, {SIDE}, {SIDE}) input, found {shape}.", where=chosen, hint=_HINT
        )
    digest = hashlib.sha256(chosen.read_bytes()).hexdigest()[:12]
    return ArcFace(session, taken.name, f"{chosen.stem}-{digest}")


def metric_id(network: ArcFace, reader: str) -> str:
    """The metric's id, for faces brought into place by this reader's landmarks."""
    return f"csim.{network.id}.five-points.{reader}-{VERSION}"


def aligned_face(image: NDArray[np.uint8], points: Points) -> NDArray[np.uint8]:
    """(112, 112, 3) the face on ArcFace's five points, by the similarity that fits best."""
    found = points[list(_POINTS), :2].astype(np.float64)
    scale, rotation, shift = similarity(_REFERENCE, found)
    matrix = scale * rotation
    # Pillow asks, for a pixel of the result, where it comes from; its affine takes and gives pixel corners.
    coefficients = (*matrix[0], shift[0], *matrix[1], shift[1])
    # A face much larger than 112 pixels must not alias: it is reduced first.
    picture = Image.fromarray(image)
    reduce = max(1, int(scale))
    if reduce > 1:
        picture = picture.reduce(reduce)
        coefficients = tuple(value / reduce for value in coefficients)
    return np.asarray(picture.transform((SIDE, SIDE), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


def similarity(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Scale, (2, 2) rotation and (2,) shift that bring `source` (N, 2) closest to `target` (Umeyama 1991)."""
    from_middle, to_middle = source.mean(0), target.mean(0)
    a, b = source - from_middle, target - to_middle
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float((s * sign).sum() / (a**2).sum())
    return scale, rotation, to_middle - scale * rotation @ from_middle
