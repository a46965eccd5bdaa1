import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.errors import UserError
from spatialavatar.view import packet
from spatialavatar.view.packet import avatar_packet
from tests.view.avatars import varied_avatar


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return varied_avatar(48)


def header_of(content: bytes) -> dict[str, object]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["header"])


def test_holds_the_head_and_the_gaussians(avatar: Avatar) -> None:
    content = avatar_packet(avatar, "somebody")
    tensors, header = load(content), header_of(content)
    head = avatar.head
    assert header["name"] == "somebody" and header["expression_names"] == list(head.expression_names)
    assert tensors["template"].shape == (head.num_vertices, 3) and tensors["triangles"].shape == (len(avatar),)
    # Sparse rows give the basis back, to half precision of a centimetre.
    basis = np.zeros((head.num_expressions, head.num_vertices, 3), np.float32)
    starts = tensors["expression.starts"]
    for index in range(head.num_expressions):
        rows = slice(starts[index], starts[index + 1])
        basis[index, tensors["expression.vertices"][rows]] = tensors["expression.offsets"][rows].astype(np.float32)
    assert np.abs(basis * header["offset_unit"] - head.expression_basis.numpy()).max() < 2e-5
    weights = np.zeros(head.skinning_weights.shape, np.float32)
    counts = np.diff(tensors["weights.starts"])
    weights[np.repeat(np.arange(len(counts)), counts), tensors["weights.joints"]] = tensors["weights.values"]
    assert np.array_equal(weights, head.skinning_weights.numpy())


def test_pose_correctives_come_along(avatar: Avatar) -> None:
    correctives = torch.randn(36, avatar.head.num_vertices, 3) * 1e-3
    changed = replace(avatar, head=replace(avatar.head, pose_correctives=correctives))
    found = load(avatar_packet(changed, "a"))["correctives"].astype(np.float32) * 0.01
    assert np.abs(found - correctives.numpy()).max() < 5e-6  # half precision of up to 5 mm


def test_too_large_for_a_browser(avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet, "MAX_GAUSSIANS", 100)
    with pytest.raises(UserError, match="the viewer shows up to 100"):
        avatar_packet(avatar, "huge")
