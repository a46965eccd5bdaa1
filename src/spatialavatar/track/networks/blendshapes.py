"""MediaPipe's blendshape model: ARKit's weights from the landmarks of a face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.errors import UserError
from spatialavatar.track.networks.network import Network

# Which of the 478 landmarks the model is given, in its order.
_POINTS = (
    *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78),
    *(80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150),
    *(152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234),
    *(246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311),
    *(312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380),
    *(381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466),
    *range(468, 478),
)
# Its first output is that of a neutral face; then ARKit's names by the alphabet. The tongue is not seen.
_NAMES = ("neutral", *sorted(set(ARKIT_NAMES) - {"tongueOut"}))


class Blendshapes:
    """ARKit name -> weight in [0, 1]."""

    def __init__(self, network: Network) -> None:
        """
        Raises:
            UserError: The network is not this model.
        """
        if network.input_shape != (1, len(_POINTS), 2) or network.output_shapes != ((len(_NAMES),),):
            raise UserError("this is not a face landmarker's blendshape model.", where=network.where)
        self._network = network

    def __call__(self, points: NDArray[np.float32]) -> dict[str, float]:
        """(478, 3) pixels -> the weights."""
        (weights,) = self._network(np.ascontiguousarray(points[list(_POINTS), :2], np.float32))
        return {name: float(weight) for name, weight in zip(_NAMES[1:], weights[1:], strict=True)}
