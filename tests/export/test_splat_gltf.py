"""Gaussians in glTF: KHR_gaussian_splatting as ratified."""

from pathlib import Path

import numpy as np
import torch

from spatialavatar.export.place import posed
from spatialavatar.export.splat_gltf import write_splat_glb
from tests.export.gltf_validator import validate
from tests.oracles.gltf import read_glb
from tests.synthetic import painted_avatar

PREFIX = "KHR_gaussian_splatting:"


def test_the_attributes_are_those_of_the_extension(tmp_path: Path) -> None:
    gaussians = posed(painted_avatar(24))
    gaussians.opacities[:5] = 0.0
    write_splat_glb(gaussians, tmp_path / "me.glb")
    glb = read_glb(tmp_path / "me.glb")
    assert glb.document["extensionsUsed"] == ["KHR_gaussian_splatting"]
    assert "extensionsRequired" not in glb.document, "others may show points"
    primitive = glb.document["meshes"][0]["primitives"][0]
    assert primitive["mode"] == 0
    assert primitive["extensions"]["KHR_gaussian_splatting"] == {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
    }
    data = {name: glb.array(index) for name, index in primitive["attributes"].items()}
    shown = gaussians[5:]
    assert np.array_equal(data["POSITION"], shown.positions.numpy())
    assert np.array_equal(data[PREFIX + "SCALE"], shown.scales.numpy()), "linear"
    assert np.array_equal(data[PREFIX + "OPACITY"][:, 0], shown.opacities.numpy()), "linear"
    xyzw = torch.from_numpy(data[PREFIX + "ROTATION"].copy())
    # Unit length, and the same turn: float32 rounding.
    torch.testing.assert_close(xyzw.norm(dim=-1), torch.ones(len(shown)), atol=1e-6, rtol=0)
    truth = torch.nn.functional.normalize(shown.quaternions_wxyz, dim=-1)
    torch.testing.assert_close(xyzw[:, [3, 0, 1, 2]], truth, atol=1e-6, rtol=0)
    color = 0.5 + 0.2820947917738781 * data[PREFIX + "SH_DEGREE_0_COEF_0"]
    np.testing.assert_allclose(color, shown.colors.numpy(), atol=1e-6)
    assert data["COLOR_0"].shape == (len(shown), 4) and data["COLOR_0"].max() <= 1


def test_the_axes_of_the_written_head(tmp_path: Path) -> None:
    write_splat_glb(posed(painted_avatar(48)), tmp_path / "me.glb")
    glb = read_glb(tmp_path / "me.glb")
    points = glb.array(glb.document["meshes"][0]["primitives"][0]["attributes"]["POSITION"])
    assert abs(points[:, 0].mean()) < 0.02, "left and right about the middle"
    assert points[:, 1].min() < -0.15 and points[:, 1].max() > 0.08, "shoulders below, crown above"
    middle = points[np.abs(points[:, 1]) < 0.1]
    assert middle[:, 2].max() - np.median(middle[:, 2]) > 0.04, "the nose towards +z"


def test_the_khronos_validator_finds_nothing_but_what_it_does_not_know(tmp_path: Path) -> None:
    write_splat_glb(posed(painted_avatar(24)), tmp_path / "me.glb")
    issues = validate(tmp_path / "me.glb")
    # 2.0.0-dev.3.10, npm's newest, was made before the extension and says so. It takes the colon in the extension's
    # attribute names, which the extension prescribes, for an error.
    attributes = ("ROTATION", "SCALE", "OPACITY", "SH_DEGREE_0_COEF_0")
    primitive = "/meshes/0/primitives/0/attributes/"
    expected = {("MESH_PRIMITIVE_INVALID_ATTRIBUTE", f"{primitive}{PREFIX}{name}") for name in attributes}
    expected.add(("UNSUPPORTED_EXTENSION", "/extensionsUsed/0"))
    assert {(message["code"], message["pointer"]) for message in issues["messages"]} == expected
    assert issues["numErrors"] == len(attributes) and issues["numWarnings"] == 0
