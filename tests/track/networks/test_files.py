"""Model files: what they hold, and what becomes of damaged and of other ones."""

from __future__ import annotations

import hashlib
import re
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from spatialavatar.errors import UserError
from spatialavatar.track.networks import shipped
from spatialavatar.track.networks.detector import Detector
from spatialavatar.track.networks.landmarker import read_landmarker
from spatialavatar.track.networks.landmarks import AttentionMesh
from spatialavatar.track.networks.network import Network
from spatialavatar.track.networks.region import whole
from spatialavatar.track.networks.tflite_file import read_graph

ASSETS = files("spatialavatar.track.networks") / "assets"
NAMES = sorted(item.name for item in ASSETS.iterdir() if item.name.endswith(".tflite"))


def test_the_notice_names_every_file_and_its_sum() -> None:
    notice = (ASSETS / "NOTICE.md").read_text("utf-8")
    sums = {
        f"{name}.tflite": total for name, total in re.findall(r"`(\w+)\.tflite` \|[^|]*\| `([0-9a-f]{64})`", notice)
    }
    assert sorted(sums) == NAMES
    for name, total in sums.items():
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == total


def test_sparse_kernels_have_their_zeros() -> None:
    graph = read_graph((ASSETS / "face_detection_full_range_sparse.tflite").read_bytes(), "model")
    sparse = [graph.constants[node.inputs[0]] for node in graph.nodes if node.name == "densify"]
    assert len(sparse) == 46
    share = [float((kernel == 0).mean()) for kernel in sparse]
    assert 0.5 < np.mean(share) < 0.99 and all(np.isfinite(kernel).all() for kernel in sparse)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_user_errors(name: str) -> None:
    data = (ASSETS / name).read_bytes()
    rng = np.random.default_rng(0)
    for size in (0, 5, 100, len(data) // 2, len(data) - 1000):
        with pytest.raises(UserError):
            Network(data[:size], name)
    for _ in range(10):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 300):
            broken[place] = rng.integers(256)
        try:
            Network(bytes(broken), name)
        except UserError as error:
            assert name in str(error)


def test_a_network_that_is_another_one_is_refused() -> None:
    mesh = Network((ASSETS / "face_landmark_with_attention.tflite").read_bytes(), "mesh.tflite")
    with pytest.raises(UserError, match=r"mesh\.tflite.*not MediaPipe's face detector"):
        Detector(mesh, "short")
    detector = Network((ASSETS / "face_detection_short_range.tflite").read_bytes(), "detector.tflite")
    with pytest.raises(UserError, match="not MediaPipe's face landmark model"):
        AttentionMesh(detector)


def test_a_landmarker_without_its_models_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match="not a face landmarker model"):
        read_landmarker(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("face_detector.tflite", (ASSETS / "face_detection_short_range.tflite").read_bytes())
    with pytest.raises(UserError, match=r"no face_landmarks_detector\.tflite"):
        read_landmarker(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("face_landmarks_detector.tflite", b"damaged")
    with pytest.raises(UserError, match="face_landmarks_detector"):
        read_landmarker(path)


def test_networks_give_the_same_twice_and_leave_their_input(speckled: np.ndarray) -> None:
    mesh, picture = shipped.attention_mesh(), speckled.copy()
    region = whole(64, 64)
    first, second = mesh.find(picture, region), mesh.find(picture, region)
    assert (picture == speckled).all()
    assert (first is None) == (second is None)
    for name in NAMES:
        network = Network((ASSETS / name).read_bytes(), name)
        noise = np.random.default_rng(0).random(network.input_shape, np.float32)
        kept = noise.copy()
        once, again = network(noise), network(noise)
        assert all((a == b).all() for a, b in zip(once, again, strict=True)) and (noise == kept).all()


@pytest.fixture
def speckled() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)


def test_a_picture_that_opencv_cannot_index_is_refused() -> None:
    with pytest.raises(UserError, match="too large"):
        shipped.short_range_detector().find(np.zeros((1, 40_000, 3), np.uint8))
