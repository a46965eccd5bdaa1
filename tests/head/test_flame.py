import pickle
import sys
import types

import numpy as np
import pytest
import torch
from scipy import sparse

from spatialavatar.errors import UserError
from spatialavatar.head import load_flame, load_head
from spatialavatar.head.teeth import add_teeth, mouth_rim
from tests.head.synthetic import VERTICES, flame_arrays, write


@pytest.fixture
def chumpy(monkeypatch):
    """A stand-in for the abandoned package, for writing pickles only."""
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x):
            self.x = x

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", package)
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


def tensors(head):
    return [head.template, head.identity_basis, head.expression_basis, head.pose_correctives, head.joint_regressor]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickle_with_chumpy_and_sparse_equals_npz(tmp_path, chumpy, protocol):
    arrays = flame_arrays()
    write(tmp_path / "model.npz", arrays)
    content = dict(arrays)
    content["shapedirs"], content["v_template"] = chumpy(arrays["shapedirs"]), chumpy(arrays["v_template"])
    content["J_regressor"] = sparse.csc_matrix(arrays["J_regressor"])
    content["bs_style"] = "lbs"
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content, protocol))
    one, other = load_flame(tmp_path / "model.npz"), load_flame(tmp_path / "model.pkl")
    assert one.edition == other.edition and one.edition.startswith("flame-")
    for a, b in zip(tensors(one), tensors(other), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_file_is_told_by_its_content_not_by_its_name(tmp_path):
    write(tmp_path / "model.pkl", flame_arrays())
    assert load_head(tmp_path / "model.pkl").num_vertices == VERTICES


def test_sparse_matrix_inside_an_npz(tmp_path):
    arrays = flame_arrays()
    regressor = np.array(sparse.csr_matrix(arrays["J_regressor"]), dtype=object)
    write(tmp_path / "model.npz", {**arrays, "J_regressor": regressor})
    expected = torch.from_numpy(arrays["J_regressor"].astype(np.float32))
    torch.testing.assert_close(load_flame(tmp_path / "model.npz").joint_regressor, expected)


def test_another_edition_has_another_name(tmp_path):
    write(tmp_path / "a.npz", flame_arrays(0))
    changed = flame_arrays(0)
    changed["shapedirs"][3, 1, 350] += 1e-3
    write(tmp_path / "b.npz", changed)
    assert load_flame(tmp_path / "a.npz").edition != load_flame(tmp_path / "b.npz").edition


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("weights", None, ["'weights'"]),
        ("shapedirs", np.zeros((VERTICES, 3, 300)), ["shapedirs", "300 columns"]),
        ("posedirs", np.zeros((VERTICES, 3, 27)), ["posedirs", f"{VERTICES} x 3 x 36", f"{VERTICES} x 3 x 27"]),
        ("v_template", np.zeros(9), ["v_template", "any x 3", "9"]),
        ("v_template", np.full((VERTICES, 3), np.nan), ["v_template", "NaN"]),
        ("f", np.full((4, 3), VERTICES), ["f", f"0 to {VERTICES - 1}"]),
        ("weights", np.full((VERTICES, 5), "x"), ["weights", "<U1"]),
        ("kintree_table", np.array([[-1, 0, 0, 1, 1], [0, 1, 2, 3, 4]]), ["kintree_table", "[0, 0, 1, 1]"]),
    ],
)
def test_wrong_content_is_named(tmp_path, key, value, words):
    arrays = flame_arrays()
    if value is None:
        del arrays[key]
    else:
        arrays[key] = value
    path = tmp_path / "model.npz"
    write(path, arrays)
    with pytest.raises(UserError) as raised:
        load_flame(path)
    for word in [*words, str(path)]:
        assert word in str(raised.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["npz", "pkl"])
def test_truncated_files_are_errors_for_people(tmp_path, share, kind):
    path = tmp_path / f"model.{kind}"
    if kind == "npz":
        write(path, flame_arrays())
    else:
        path.write_bytes(pickle.dumps(flame_arrays(), 2))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError):
        load_flame(path)


def test_missing_file():
    with pytest.raises(UserError, match="missing"):
        load_flame("nowhere.pkl")
    with pytest.raises(UserError, match="no head of this name"):
        load_head("nowhere")


def test_texture_space_from_its_own_file(tmp_path):
    arrays = flame_arrays()
    write(tmp_path / "model.npz", arrays)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.25]])
    write(tmp_path / "texture.npz", {"vt": corners, "ft": np.tile([0, 1, 2], (70, 1))})
    head = load_flame(tmp_path / "model.npz", uv=tmp_path / "texture.npz")
    # The file counts v upwards, a picture's rows go down.
    torch.testing.assert_close(head.uv_coordinates[2], torch.tensor([0.0, 0.75]))
    lines = [f"vt {u} {v}" for u, v in corners] + ["f 1/1 2/2 3/3"] * 70
    (tmp_path / "template.obj").write_text("\n".join(lines))
    other = load_flame(tmp_path / "model.npz", uv=tmp_path / "template.obj")
    torch.testing.assert_close(other.uv_coordinates, head.uv_coordinates)
    assert (other.uv_faces == head.uv_faces).all()

    assert (load_flame(tmp_path / "model.npz").uv_faces == -1).all()
    with pytest.raises(UserError, match="'vt' and 'ft'"):
        load_flame(tmp_path / "model.npz", uv=tmp_path / "model.npz")
    write(tmp_path / "short.npz", {"vt": corners, "ft": np.tile([0, 1, 2], (69, 1))})
    with pytest.raises(UserError, match="expected 70 triangles"):
        load_flame(tmp_path / "model.npz", uv=tmp_path / "short.npz")


def mask_with_mouth() -> dict[str, np.ndarray]:
    """A bowl of 20 x 20 vertices open at the back, with a hole for the mouth."""
    x, y = np.meshgrid(np.linspace(-0.1, 0.1, 21), np.linspace(-0.1, 0.1, 21))
    template = np.stack([x, y, 0.1 - 5 * (x**2 + y**2)], axis=-1).reshape(-1, 3)
    cells = [(i, j) for i in range(20) for j in range(20) if not (4 <= i < 7 and 7 <= j < 13)]
    faces = [[21 * i + j, 21 * i + j + 1, 21 * i + j + 22] for i, j in cells]
    faces += [[21 * i + j, 21 * i + j + 22, 21 * i + j + 21] for i, j in cells]
    generator = np.random.default_rng(0)
    arrays = flame_arrays()
    arrays.update(
        v_template=template,
        f=np.array(faces),
        shapedirs=0.001 * generator.standard_normal((441, 3, 400)),
        posedirs=0.001 * generator.standard_normal((441, 3, 36)),
        J_regressor=np.full((5, 441), 1 / 441),
        weights=np.tile([0.0, 0.5, 0.5, 0.0, 0.0], (441, 1)),
    )
    return arrays


def test_teeth_sit_in_the_mouth_and_bite(tmp_path):
    write(tmp_path / "model.npz", mask_with_mouth())
    bare = load_flame(tmp_path / "model.npz", teeth=False)
    head = load_flame(tmp_path / "model.npz")
    assert head.num_vertices == bare.num_vertices + 120 and head.num_faces == bare.num_faces + 168
    assert head.edition == bare.edition + "-teeth"
    rim = mouth_rim(bare)
    assert len(rim) == 18
    teeth = head.template[-120:]
    low, high = bare.template[rim].amin(dim=0), bare.template[rim].amax(dim=0)
    assert (teeth[:, :2] >= low[:2]).all() and (teeth[:, :2] <= high[:2]).all()
    # The sheets of both jaws face out of the mouth in front and meet in one plane.
    faces = head.faces[head.part_faces("upper_teeth", "lower_teeth")]
    a, b, c = head.template[faces].unbind(dim=1)
    normals = torch.linalg.cross(b - a, c - a)
    # Of the six triangles between two columns the first two are the front, the last two the back.
    normals = normals.reshape(-1, 6, 3)
    assert (normals[:, :2, 2] > 0).all() and (normals[:, 4:, 2] < 0).all()
    assert abs(teeth[:60, 1].min() - teeth[60:, 1].max()) < 1e-6
    assert (head.uv_faces[-168:] == -1).all()
    assert (head.skinning_weights[-120:-60, 1] == 1).all() and (head.skinning_weights[-60:, 2] == 1).all()


def test_teeth_follow_identity_but_not_expressions(tmp_path):
    write(tmp_path / "model.npz", mask_with_mouth())
    head = load_flame(tmp_path / "model.npz")
    assert (head.expression_basis[:, -120:] == 0).all() and (head.pose_correctives[:, -120:] == 0).all()
    upper = head.identity_basis[:, -120:-60]
    assert (upper == upper[:, :1]).all() and upper.abs().max() > 0
    assert (head.joint_regressor[:, -120:] == 0).all()


def test_no_mouth_no_teeth(tmp_path):
    arrays = mask_with_mouth()
    arrays["f"] = arrays["f"][:1]
    write(tmp_path / "model.npz", arrays)
    head = load_flame(tmp_path / "model.npz")
    assert head.num_vertices == 441
    with pytest.raises(ValueError, match="open mouth"):
        add_teeth(head)
