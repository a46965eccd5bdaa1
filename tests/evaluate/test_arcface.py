"""CSIM with a network that the test makes: alignment against scikit-image's, the dot product against numpy's."""

from pathlib import Path

import numpy as np
import pytest
from skimage import transform
from skimage.transform import SimilarityTransform, warp

from spatialavatar.errors import UserError
from spatialavatar.evaluate import arcface
from tests.oracles.onnx_file import linear_network
from tests.track.media import astronaut

pytest.importorskip("onnxruntime", reason="the extra eval is not installed")


def matrix() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3 * 112 * 112, 8)).astype(np.float32)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(linear_network(matrix(), (3, 112, 112)))
    return path


def landmarks(scale: float = 1.3, angle: float = 0.2, shift: tuple[float, float] = (150.0, 40.0)) -> np.ndarray:
    """478 points, the five that count where ArcFace's reference lies after a similarity."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.zeros((478, 3), np.float32)
    points[list(arcface._POINTS), :2] = arcface._REFERENCE @ (scale * turn).T + shift
    return points


def test_the_similarity_is_scikit_images() -> None:
    random = np.random.default_rng(1)
    source, target = random.normal(size=(2, 5, 2))
    scale, rotation, shift = arcface.similarity(source, target)
    theirs = transform.estimate_transform("similarity", source, target)
    ours = np.eye(3)
    ours[:2, :2], ours[:2, 2] = scale * rotation, shift
    np.testing.assert_allclose(ours, theirs.params, atol=1e-12)  # both in float64


def test_the_face_is_cut_as_scikit_image_cuts_it() -> None:
    image, points = astronaut(), landmarks()
    ours = arcface.aligned_face(image, points)
    placed = SimilarityTransform(scale=1.3, rotation=0.2, translation=(150, 40))
    # scikit-image names pixels by their centres.
    centred = SimilarityTransform(translation=(0.5, 0.5)) + placed + SimilarityTransform(translation=(-0.5, -0.5))
    theirs = 255 * warp(image, centred, output_shape=(112, 112), order=1)
    # Rounding to bytes, and Pillow's weights of limited precision.
    assert np.abs(ours - theirs).mean() < 0.6 and np.abs(ours - theirs).max() < 4


def test_the_embedding_is_the_networks(network: Path) -> None:
    loaded = arcface.load_arcface(network)
    image, points = astronaut(), landmarks()
    found = loaded.embed(image, points)
    face = arcface.aligned_face(image, points).astype(np.float64) / 127.5 - 1
    expected = face.transpose(2, 0, 1).reshape(-1) @ matrix().astype(np.float64)
    # float32 sums of 37,632 terms.
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-4)
    assert float(found @ found) == pytest.approx(1, abs=1e-5)


def test_the_id_names_the_network(network: Path) -> None:
    first = arcface.load_arcface(network).id
    network.write_bytes(linear_network(2 * matrix(), (3, 112, 112)))
    assert first.startswith("tiny-") and arcface.load_arcface(network).id != first


def test_what_is_missing_or_wrong_is_named(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(arcface.VARIABLE, raising=False)
    with pytest.raises(UserError, match="none is named") as caught:
        arcface.load_arcface()
    assert "--arcface" in str(caught.value)
    with pytest.raises(UserError, match="does not exist"):
        arcface.load_arcface(network.with_name("other.onnx"))
    network.write_bytes(b"nothing")
    with pytest.raises(UserError, match="no readable ONNX"):
        arcface.load_arcface(network)
    network.write_bytes(linear_network(matrix()[: 3 * 64 * 64], (3, 64, 64)))
    with pytest.raises(UserError, match="64, 64"):
        arcface.load_arcface(network)
    monkeypatch.setenv(arcface.VARIABLE, str(network.with_name("elsewhere.onnx")))
    with pytest.raises(UserError, match="elsewhere"):
        arcface.load_arcface()
