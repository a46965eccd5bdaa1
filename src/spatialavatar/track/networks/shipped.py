"""The models that come with the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files as package_files

from spatialavatar.track.networks.detector import Detector
from spatialavatar.track.networks.landmarks import AttentionMesh
from spatialavatar.track.networks.network import Network
from spatialavatar.track.networks.segmentation import PersonSegmentation

SOURCE = "mediapipe-0.10.14"
"""The release that the files are from, for reports."""


def short_range_detector() -> Detector:
    """Faces that fill the picture."""
    return Detector(_network("face_detection_short_range"), "short")


def full_range_detector() -> Detector:
    """Smaller faces."""
    return Detector(_network("face_detection_full_range_sparse"), "full")


def attention_mesh() -> AttentionMesh:
    """478 landmarks."""
    return AttentionMesh(_network("face_landmark_with_attention"))


def person_segmentation() -> PersonSegmentation:
    """Coarse mattes."""
    return PersonSegmentation(_network("selfie_segmentation"))


@cache
def _network(name: str) -> Network:
    """Networks keep nothing from one picture to the next, so that all users may share one."""
    file = package_files("spatialavatar.track.networks") / "assets" / f"{name}.tflite"
    return Network(file.read_bytes(), file.name)
