"""MediaPipe's selfie segmentation: which pixels are a person."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.track.networks.network import Network
from spatialavatar.track.networks.region import whole

_SIZE = 256


class PersonSegmentation:
    """A coarse matte of the people in a picture."""

    def __init__(self, network: Network) -> None:
        """
        Raises:
            UserError: The network is not this model.
        """
        if network.input_shape != (1, _SIZE, _SIZE, 3) or network.output_shapes != ((1, _SIZE, _SIZE, 1),):
            raise UserError("this is not MediaPipe's selfie segmentation.", where=network.where)
        self._network = network

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 -> (H, W) in [0, 1]."""
        height, width = image.shape[:2]
        seen = whole(width, height).see(image, _SIZE, replicate=False)
        (matte,) = self._network(seen.astype(np.float32) / np.float32(255))
        return np.asarray(cv2.resize(matte.reshape(_SIZE, _SIZE), (width, height)), np.float32)
