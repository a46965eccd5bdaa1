import dataclasses

import numpy as np
import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.head import Motion, load_gnm, load_head
from tests.head.synthetic import VERTICES, gnm_arrays, write


def test_agrees_with_body_models_on_the_same_file(tmp_path):
    body_models = pytest.importorskip("body_models.gnm.torch", reason="body-models needs Python 3.11")
    path = tmp_path / "gnm_head.npz"
    write(path, gnm_arrays())
    head = load_head(path)
    assert head.edition.startswith("gnm-3.0-") and head.num_identities == 253 and head.num_expressions == 383
    generator = torch.Generator().manual_seed(0)
    motion = Motion.neutral(4, 383)
    fields = {f.name: getattr(motion, f.name) for f in dataclasses.fields(Motion)}
    motion = Motion(**{n: 0.4 * torch.randn(v.shape, generator=generator) for n, v in fields.items()})
    motion = dataclasses.replace(motion, neck_translation=torch.zeros(4, 3))
    identity = torch.randn(253, generator=generator)
    joints = torch.stack([motion.neck_rotation, motion.eyes_rotation[:, :3], motion.eyes_rotation[:, 3:]], dim=1)
    expected = body_models.GNM(model_path=path).forward_vertices(
        joints, head_rotation=motion.global_rotation, shape=identity.expand(4, -1), expression=motion.expression
    )
    found = head.pose(identity, motion) - motion.translation[:, None]
    # Both work in float32 on coordinates below a metre.
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=0, atol=1e-5)


def test_the_jaw_moves_nothing(tmp_path):
    write(tmp_path / "gnm_head.npz", gnm_arrays())
    head = load_gnm(tmp_path / "gnm_head.npz")
    still = Motion.neutral(1, head.num_expressions)
    open_jaw = dataclasses.replace(still, jaw_rotation=torch.tensor([[0.4, 0.0, 0.0]]))
    identity = torch.zeros(1)
    # A matrix product over more columns of zeros may round differently.
    torch.testing.assert_close(head.pose(identity, open_jaw), head.pose(identity, still), rtol=0, atol=1e-7)


def test_missing_key_and_wrong_shape_are_named(tmp_path):
    arrays = gnm_arrays()
    del arrays["triangles"]
    write(tmp_path / "a.npz", arrays)
    with pytest.raises(UserError, match="'triangles'"):
        load_gnm(tmp_path / "a.npz")
    arrays = gnm_arrays()
    arrays["skinning_weights"] = np.zeros((VERTICES, 4))
    write(tmp_path / "b.npz", arrays)
    with pytest.raises(UserError, match=f"skinning_weights: expected numbers of the shape 4 x {VERTICES}"):
        load_gnm(tmp_path / "b.npz")
