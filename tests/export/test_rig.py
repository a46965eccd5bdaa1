"""The rigged mesh and the bundle: an engine that follows their descriptions gets our own pose."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.errors import UserError
from spatialavatar.export.licence import check_licence, licence_note
from spatialavatar.export.mesh import split_mesh, vertex_normals, write_mesh_glb
from spatialavatar.export.rig import write_rig
from spatialavatar.export.texture import bake_texture, fill_gaps
from spatialavatar.head import build_uv_layout, load_flame, load_open_head
from spatialavatar.head.motion import Motion
from spatialavatar.head.rig import joint_rotations
from tests.avatar.test_other_head import flame_file
from tests.avatar.test_residual import random_residual
from tests.export.gltf_validator import validate
from tests.oracles.gltf import posed_vertices, read_glb
from tests.synthetic import painted_avatar


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    avatar = painted_avatar(24)
    identity = torch.linspace(-1, 1, len(avatar.identity))
    return replace(avatar, identity=identity)


@pytest.fixture(scope="module")
def bundle(avatar: Avatar, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rig") / "me.rig"
    write_rig(avatar, folder, texture_size=64)
    return folder


def any_motion(avatar: Avatar) -> Motion:
    generator = torch.Generator().manual_seed(1)

    def some(width: int, size: float) -> torch.Tensor:
        return size * torch.randn(1, width, generator=generator)

    return Motion(
        expression=torch.rand(1, avatar.head.num_expressions, generator=generator),
        global_rotation=some(3, 0.5),
        neck_rotation=some(3, 0.3),
        jaw_rotation=some(3, 0.2),
        eyes_rotation=some(6, 0.2),
        translation=some(3, 0.3),
        neck_translation=torch.zeros(1, 3),
    )


def engine_vertices(glb_path: Path, motion: Motion) -> np.ndarray:
    rotations = joint_rotations(motion)[0].numpy()
    return posed_vertices(read_glb(glb_path), motion.expression[0].numpy(), rotations, motion.translation[0].numpy())


def test_an_engine_poses_the_mesh_as_we_do(avatar: Avatar, bundle: Path) -> None:
    motion = any_motion(avatar)
    ours = avatar.vertices(motion)[split_mesh(avatar).vertex_of].numpy()
    # Float32 on our side, float64 on the other, coordinates below one metre.
    np.testing.assert_allclose(engine_vertices(bundle / "head.glb", motion), ours, atol=2e-6)


def test_an_engine_that_follows_the_readme_gets_our_gaussians(avatar: Avatar, bundle: Path) -> None:
    motion = any_motion(avatar)
    header = json.loads((bundle / "rig.json").read_text())
    content = (bundle / header["splats"]).read_bytes()
    data = arrays_of(bundle)
    assert sum(entry["bytes"] for entry in header["arrays"].values()) == len(content)
    glb = read_glb(bundle / "head.glb")
    indices = glb.array(glb.document["meshes"][0]["primitives"][0]["indices"]).reshape(-1, 3)
    v0, v1, v2 = engine_vertices(bundle / "head.glb", motion)[indices[data["triangles"]]].transpose(1, 0, 2)

    def unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    a0 = unit(v1 - v0)
    a1 = unit(np.cross(v1 - v0, v2 - v0))
    a2 = np.cross(a0, a1)
    frame = np.stack([a0, a1, a2], -1)
    scale = (np.linalg.norm(v1 - v0, axis=-1) + np.abs((a2 * (v2 - v0)).sum(-1))) / 2
    positions = scale[:, None] * (frame @ data["positions"][..., None])[..., 0] + (v0 + v1 + v2) / 3
    ours = avatar.pose(motion)
    np.testing.assert_allclose(positions, ours.positions.numpy(), atol=1e-5)  # float32 over a few operations
    np.testing.assert_allclose(scale[:, None] * data["scales"], ours.scales.numpy(), rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(data["opacities"], ours.opacities.numpy(), atol=1e-6)
    np.testing.assert_allclose(data["colors"], ours.colors.numpy(), atol=1e-6)
    # Turns, as matrices.
    x, y, z, w = data["quaternions_xyzw"].T.astype(np.float64)
    local = np.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        ],
        -1,
    ).reshape(-1, 3, 3)
    from spatialavatar.head.rotations import rotation_matrix_from_quaternions_wxyz

    turned = rotation_matrix_from_quaternions_wxyz(ours.quaternions_wxyz).numpy()
    # Slivers of triangles have a normal that float32 knows to three digits.
    assert np.abs(frame @ local - turned).max() < 2e-3


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    header = json.loads((folder / "rig.json").read_text())
    content = (folder / header["splats"]).read_bytes()
    return {
        name: np.frombuffer(
            content,
            {"uint32": "<u4", "float32": "<f4"}[entry["dtype"]],
            int(np.prod(entry["shape"])),
            entry["offset"],
        ).reshape(entry["shape"])
        for name, entry in header["arrays"].items()
    }


def test_the_residual_head_by_the_readme(tmp_path: Path, avatar: Avatar) -> None:
    made = replace(avatar, residual=random_residual(len(avatar)))
    write_rig(made, tmp_path / "me.rig", texture_size=32)
    assert "residual head" in (tmp_path / "me.rig" / "README.md").read_text()
    data = {name: values.astype(np.float64) for name, values in arrays_of(tmp_path / "me.rig").items()}
    motion = any_motion(made)

    def corrections(condition: np.ndarray) -> list[np.ndarray]:
        hidden = data["residual_hidden_weight"] @ condition + data["residual_hidden_bias"]
        hidden = hidden / (1 + np.exp(-hidden))
        film = (data["residual_film_weight"] @ hidden + data["residual_film_bias"]).reshape(4, 2, -1)
        found = []
        for (scale, shift), rows in zip(film, (slice(0, 3), slice(3, 7), slice(7, 10), slice(10, 13)), strict=True):
            modulated = data["residual_features"] * (1 + scale) + shift
            found.append(modulated @ data["residual_weights"][rows].T + data["residual_biases"][rows])
        return found

    condition = motion.condition()[0].double().numpy()
    changes = [a - b for a, b in zip(corrections(condition), corrections(0 * condition), strict=True)]
    ours = made.local(motion)
    # Float32 on our side.
    np.testing.assert_allclose(data["positions"] + changes[0], ours.positions.numpy(), atol=1e-5)
    turns = data["quaternions_xyzw"][:, [3, 0, 1, 2]] + changes[1]
    np.testing.assert_allclose(turns, ours.quaternions_wxyz.numpy(), atol=1e-5)
    np.testing.assert_allclose(data["scales"] * np.exp(changes[2]), ours.log_scales.exp().numpy(), rtol=1e-4)
    np.testing.assert_allclose(np.clip(data["colors"] + changes[3], 0, 1), ours.colors.numpy(), atol=1e-5)


def test_the_light_by_the_readme(tmp_path: Path, avatar: Avatar) -> None:
    made = replace(avatar, light=torch.tensor([0.1, 0.2, 0.05, 0.03, -0.06, 0.02, 0.08, 0.05]))
    write_rig(made, tmp_path / "me.rig", texture_size=32)
    assert "## Light" in (tmp_path / "me.rig" / "README.md").read_text()
    data = {name: values.astype(np.float64) for name, values in arrays_of(tmp_path / "me.rig").items()}
    motion = any_motion(made)
    glb = read_glb(tmp_path / "me.rig" / "head.glb")
    indices = glb.array(glb.document["meshes"][0]["primitives"][0]["indices"]).reshape(-1, 3)
    corners = engine_vertices(tmp_path / "me.rig" / "head.glb", motion)[indices[data["triangles"].astype(int)]]
    v0, v1, v2 = corners.transpose(1, 0, 2)
    normal = np.cross(v1 - v0, v2 - v0)
    x, y, z = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).T
    light = data["light"] @ np.stack([x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1])
    brightness = np.clip(1 + light - data["light_at_rest"], 0.6, 1.5)
    assert brightness.std() > 0.01
    ours = made.pose(motion).colors.numpy()
    # Slivers of triangles have a normal that float32 knows to three digits.
    np.testing.assert_allclose(np.clip(data["colors"] * brightness[:, None], 0, 1), ours, atol=2e-3)


def test_the_readme_lists_every_array(bundle: Path) -> None:
    header = json.loads((bundle / "rig.json").read_text())
    text = (bundle / "README.md").read_text()
    for name, entry in header["arrays"].items():
        assert f"| `{name}` | {entry['offset']} |" in text
    assert header["expression_names"] == list(load_open_head().expression_names)


def test_names_and_structure(avatar: Avatar, bundle: Path) -> None:
    document = read_glb(bundle / "head.glb").document
    mesh = document["meshes"][0]
    assert mesh["extras"]["targetNames"] == list(avatar.head.expression_names)
    assert len(mesh["weights"]) == len(mesh["primitives"][0]["targets"]) == 52
    skin = document["skins"][0]
    assert [document["nodes"][joint]["name"] for joint in skin["joints"]] == [
        *("root", "neck", "jaw", "left_eye", "right_eye")
    ]
    glb = read_glb(bundle / "head.glb")
    weights = glb.array(mesh["primitives"][0]["attributes"]["WEIGHTS_0"])
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    normals = glb.array(mesh["primitives"][0]["attributes"]["NORMAL"])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    texture = np.asarray(Image.open(io.BytesIO(glb.image(0))))
    assert texture.shape == (64, 64, 3)
    assert document["materials"][0]["extensions"] == {"KHR_materials_unlit": {}}


def test_normals_point_out_of_the_skull() -> None:
    head = load_open_head()
    normals = vertex_normals(head.template, head.faces)
    skin = head.faces[head.part_faces("skin")].unique()
    outward = head.template[skin] - head.template[skin].mean(0)
    assert float(((normals[skin] * outward).sum(-1) > 0).float().mean()) > 0.8


@pytest.mark.node
def test_the_khronos_validator_passes(bundle: Path) -> None:
    issues = validate(bundle / "head.glb")
    assert issues["numErrors"] == 0 and issues["numWarnings"] == 0, issues["messages"]


def test_an_existing_folder_stays(avatar: Avatar, bundle: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        write_rig(avatar, bundle, texture_size=16)


def test_the_texture_has_the_painted_colours() -> None:
    avatar = painted_avatar(96)
    texture = bake_texture(avatar, resolution=96, view_size=256)
    truth = avatar.layout.to_grid(avatar.gaussians.colors).numpy()
    skin = avatar.layout.to_grid((avatar.head.part_of_face[avatar.layout.triangles] == 0).float()[:, None]).numpy() > 0
    difference = np.abs(texture / 255 - truth)[skin[..., 0]]
    # The paint is smooth; what is seen through neighbouring Gaussians differs by a few grey levels.
    assert np.median(difference) < 0.02 and difference.mean() < 0.03


def test_gaps_take_the_nearest_value() -> None:
    grid = np.zeros((5, 5, 1), np.float32)
    mask = np.zeros((5, 5), bool)
    mask[0, 0] = mask[4, 4] = True
    grid[0, 0], grid[4, 4] = 1, 2
    filled = fill_gaps(grid, mask)[..., 0]
    assert filled[1, 1] == 1 and filled[3, 3] == 2 and (filled > 0).all()


def flame_avatar(folder: Path) -> Avatar:
    head = load_flame(flame_file(folder / "flame.npz"), teeth=False)
    layout = build_uv_layout(head, 64)
    count = len(layout)
    gaussians = LocalGaussians(
        positions=torch.zeros(count, 3),
        quaternions_wxyz=torch.tensor([1.0, 0, 0, 0]).expand(count, 4).contiguous(),
        log_scales=torch.full((count, 3), -3.0),
        opacity_logits=torch.full((count,), 2.0),
        colors=torch.rand(count, 3, generator=torch.Generator().manual_seed(0)),
    )
    return Avatar(head, layout, torch.zeros(20), gaussians)


def test_a_gated_head_needs_a_licence(tmp_path: Path, avatar: Avatar) -> None:
    her = flame_avatar(tmp_path)
    with pytest.raises(UserError, match="may not be passed on") as raised:
        check_licence(her, False, "a rigged bundle")
    assert "--i-have-the-licence" in str(raised.value.hint)
    check_licence(her, True, "a rigged bundle")
    note = licence_note(her)
    assert note is not None and "FLAME" in note
    check_licence(avatar, False, "a rigged bundle")
    assert licence_note(avatar) is None


@pytest.mark.node
def test_what_gltf_cannot_hold_of_flame_lies_in_the_bundle(tmp_path: Path) -> None:
    her = flame_avatar(tmp_path)
    write_rig(her, tmp_path / "her.rig", texture_size=32)
    header = json.loads((tmp_path / "her.rig" / "rig.json").read_text())
    vertices = len(split_mesh(her).vertex_of)
    assert header["arrays"]["pose_correctives"]["shape"] == [36, vertices, 3]
    assert header["arrays"]["joint_expression_offsets"]["shape"] == [100, 5, 3]
    document = read_glb(tmp_path / "her.rig" / "head.glb").document
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert "JOINTS_1" in attributes, "some vertex follows all five joints"
    issues = validate(tmp_path / "her.rig" / "head.glb")
    assert issues["numErrors"] == 0, issues["messages"]


def test_the_mesh_alone(tmp_path: Path, avatar: Avatar) -> None:
    write_mesh_glb(avatar, tmp_path / "me.glb", texture_size=32)
    assert len(read_glb(tmp_path / "me.glb").document["images"]) == 1
