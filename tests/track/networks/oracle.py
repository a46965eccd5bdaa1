"""MediaPipe 0.10.14 itself, whose models ours are: the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def landmarks(pictures: Sequence[NDArray[np.uint8]], *, still: bool) -> list[NDArray[np.float32]]:
    """(478, 3) pixels in each picture; one after the other as in a video, unless they are stills."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    found = []
    with FaceMesh(
        static_image_mode=still,
        max_num_faces=1,
        refine_landmarks=True,
        min_detection_confidence=0.5,
        min_tracking_confidence=0.5,
    ) as mesh:
        for picture in pictures:
            height, width = picture.shape[:2]
            (face,) = mesh.process(np.ascontiguousarray(picture)).multi_face_landmarks
            found.append(np.array([(p.x * width, p.y * height, p.z * width) for p in face.landmark], np.float32))
    return found


def boxes(picture: NDArray[np.uint8], selection: int) -> NDArray[np.float32]:
    """(N, 5) score, left, top, right and bottom in pixels; `selection` 0 is the short range, 1 the full one."""
    from mediapipe.python.solutions.face_detection import FaceDetection

    height, width = picture.shape[:2]
    rows = []
    with FaceDetection(0.5, model_selection=selection) as detector:
        for found in detector.process(np.ascontiguousarray(picture)).detections or []:
            box = found.location_data.relative_bounding_box
            left, top = box.xmin * width, box.ymin * height
            rows.append([found.score[0], left, top, left + box.width * width, top + box.height * height])
    return np.array(rows, np.float32).reshape(-1, 5)


def matte(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) in [0, 1]."""
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    with SelfieSegmentation(model_selection=0) as segmentation:
        return np.asarray(segmentation.process(np.ascontiguousarray(picture)).segmentation_mask, np.float32)
