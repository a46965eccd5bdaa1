"""The `.avatar` file: exact round trips, and one clear message for everything that can be wrong with it."""

import errno
import json
import pickle
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spatialavatar import files
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import load_avatar, read_avatar_header, read_preview, save_avatar
from spatialavatar.errors import UserError
from tests.limited import refused_within
from tests.synthetic import painted_avatar


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    made = painted_avatar(24)
    return replace(made, identity=torch.randn(10), provenance={"consent": "yes", "sources": ["portrait.jpg"], "n": 3})


@pytest.fixture
def path(avatar: Avatar, tmp_path: Path) -> Path:
    return save_avatar(avatar, tmp_path / "me.avatar", preview_png=b"\x89PNG picture")


def rewritten(
    path: Path, *, tensors: dict[str, Any] | None = None, header: dict[str, Any] | None = None, **meta: str
) -> Path:
    """The same file with some tensors, header keys (None removes) or metadata changed."""
    with safe_open(str(path), framework="pt") as file:
        content = {key: file.get_tensor(key) for key in file.keys()}
        metadata = dict(file.metadata())
    content |= tensors or {}
    changed = json.loads(metadata["header"]) | (header or {})
    metadata["header"] = json.dumps({key: value for key, value in changed.items() if value is not None})
    save_file({k: v for k, v in content.items() if v is not None}, str(path), metadata | meta)
    return path


def test_round_trip_is_exact(avatar: Avatar, path: Path) -> None:
    loaded = load_avatar(path)
    for field in fields(avatar.gaussians):
        assert torch.equal(getattr(loaded.gaussians, field.name), getattr(avatar.gaussians, field.name)), field.name
    assert torch.equal(loaded.identity, avatar.identity)
    assert loaded.provenance == avatar.provenance
    assert loaded.layout.layout_id == avatar.layout.layout_id
    assert torch.equal(loaded.rest.translation, avatar.rest.translation)
    camera, expected = loaded.default_camera(), avatar.default_camera()
    assert torch.equal(camera.camera_from_world, expected.camera_from_world)
    assert torch.equal(camera.intrinsics, expected.intrinsics)
    assert read_preview(path) == b"\x89PNG picture"


def test_the_same_picture_comes_from_the_file(avatar: Avatar, path: Path) -> None:
    camera = avatar.default_camera(48)
    assert torch.equal(load_avatar(path).render(camera=camera), avatar.render(camera=camera))


def test_the_header_says_what_it_is(avatar: Avatar, path: Path) -> None:
    header = read_avatar_header(path).header
    assert header["head_edition"] == avatar.head.edition and header["resolution"] == 24
    assert header["gaussians"] == len(avatar) and header["expression_names"] == list(avatar.head.expression_names)
    assert header["provenance"]["consent"] == "yes" and header["package"].startswith("spatialavatar ")


def test_any_truncation_is_recognised(path: Path) -> None:
    whole = path.read_bytes()
    for length in (0, 3, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut short|not an avatar"):
            load_avatar(path)


@pytest.mark.parametrize(
    "content", [b"hello", b"\xff" * 500, b"{" * 100, bytes(1000), b"\x08" + bytes(7) + b"[1, 2, 3"]
)
def test_other_files_are_no_avatars(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "me.avatar"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"not an avatar|cut short"):
        load_avatar(path)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/nonexistent/proof-of-execution", "w"))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_is_not_opened(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "me.avatar"
    path.write_bytes(pickle.dumps(Trap(), protocol=protocol))
    with pytest.raises(UserError, match=r"pickle .*was not opened"):
        load_avatar(path)


def test_a_torch_checkpoint_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "me.avatar"
    torch.save({"trap": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="pickle or a checkpoint"):
        load_avatar(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this file is missing"):
        load_avatar(tmp_path / "me.avatar")
    with pytest.raises(UserError, match="this is a folder"):
        load_avatar(tmp_path)


def test_a_newer_version_says_update(path: Path) -> None:
    with pytest.raises(UserError, match=r"newer version of SpatialAvatar \(file version 7; .* up to 2\)") as raised:
        load_avatar(rewritten(path, version="7"))
    assert "pip install --upgrade" in str(raised.value.hint)


def test_another_kind_of_file(path: Path) -> None:
    with pytest.raises(UserError, match="its format is spatialavatar-motion, expected spatialavatar-avatar") as raised:
        load_avatar(rewritten(path, format="spatialavatar-motion"))
    assert "--drive" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"gaussians.positions": None}, "'gaussians.positions' is missing"),
        ({"gaussians.colors": torch.zeros(5, 3)}, r"'gaussians.colors' has shape \(5, 3\); expected \(\d+, 3\)"),
        ({"gaussians.log_scales": torch.zeros(5, 3, dtype=torch.float64)}, "is float64; expected float32"),
        ({"identity": torch.zeros(500)}, "'identity' has 500 coefficients; the head open-head.* has"),
        ({"identity": torch.tensor([float("nan"), 1.0])}, r"'identity' holds NaN or infinite values \(1 of 2\)"),
        ({"rest.expression": torch.zeros(1, 100)}, r"'rest.expression' has shape \(1, 100\); expected \(1, 52\)"),
        ({"camera.intrinsics": torch.zeros(3)}, r"'camera.intrinsics' has shape \(3\); expected \(3, 3\)"),
    ],
)
def test_a_wrong_tensor_is_named(path: Path, tensors: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_avatar(rewritten(path, tensors=tensors))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"resolution": None}, "header key 'resolution' is missing; expected int"),
        ({"resolution": "24"}, "header key 'resolution' is str; expected int"),
        ({"resolution": 10**9}, "expected 1 to 2048"),
        ({"camera_size": [512]}, "'camera_size' is .*expected two whole numbers"),
        ({"layout_id": "other"}, "has the UV layout other; the head open-head"),
        ({"head_edition": "open-head-0-abc"}, "needs the head open-head-0-abc .* this program has open-head-1"),
    ],
)
def test_a_wrong_header_is_named(path: Path, header: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_avatar(rewritten(path, header=header))


def test_a_licensed_head_is_asked_for(path: Path) -> None:
    rewritten(path, header={"head_edition": "flame-2023-open-123", "head_name": "FLAME 2023 Open"})
    with pytest.raises(UserError, match=r"needs the head flame-2023-open-123 \(FLAME 2023 Open\)") as raised:
        load_avatar(path)
    assert "--head" in str(raised.value.hint)


def test_values_that_are_not_finite_are_not_written(avatar: Avatar, tmp_path: Path) -> None:
    broken = replace(avatar, gaussians=replace(avatar.gaussians, colors=avatar.gaussians.colors * float("nan")))
    with pytest.raises(UserError, match=r"gaussians\.colors"):
        save_avatar(broken, tmp_path / "me.avatar")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_old_file(avatar: Avatar, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(UserError, match="no disk space"):
        save_avatar(avatar, path)
    assert path.read_bytes() == before and [entry.name for entry in path.parent.iterdir()] == ["me.avatar"]


def test_ctrl_c_while_writing_keeps_the_old_file(avatar: Avatar, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_avatar(avatar, path)
    assert path.read_bytes() == before and [entry.name for entry in path.parent.iterdir()] == ["me.avatar"]


def test_a_missing_folder(avatar: Avatar, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        save_avatar(avatar, tmp_path / "nowhere" / "me.avatar")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"resolution": 2048}, r"has 517 Gaussians; its header says 517 at a resolution of 2048"),
        ({"resolution": 3000}, "expected 1 to 2048"),
        ({"resolution": True}, "expected 1 to 2048"),
        ({"resolution": 25}, "has the UV layout 24-.* has 25-"),
        ({"gaussians": 516}, "has 517 Gaussians; its header says 516"),
        ({"camera_size": [512, 10**9]}, "two whole numbers of pixels"),
        ({"camera_size": [512, True]}, "two whole numbers of pixels"),
        ({"expression_names": [1, 2]}, "must be a list of names"),
    ],
)
def test_a_header_is_compared_with_the_tensors_before_memory_is_reserved_for_it(
    path: Path, header: dict[str, Any], message: str
) -> None:
    rewritten(path, header=header)
    # A layout of 2048 pixels alone takes 500 MB.
    assert re.search(message, refused_within(200, lambda: load_avatar(path)))


def test_an_avatar_survives_the_end_of_its_file(avatar: Avatar, path: Path) -> None:
    loaded = load_avatar(path)
    with path.open("r+b") as file:
        file.write(b"\0" * 1000)
        file.truncate(1000)
    for field in fields(avatar.gaussians):
        assert torch.equal(getattr(loaded.gaussians, field.name), getattr(avatar.gaussians, field.name)), field.name
    assert torch.equal(loaded.identity, avatar.identity)


@pytest.mark.parametrize(
    "text", ['{"resolution": NaN}', '{"a": 1e999}', '{"a": ' + "9" * 400 + "}", "[" * 3000, "[]", '{"a": "\\ud800"}']
)
def test_a_header_with_numbers_that_are_none_is_refused(path: Path, text: str) -> None:
    with safe_open(str(path), framework="pt") as file:
        content = {key: file.get_tensor(key) for key in file.keys()}
        metadata = dict(file.metadata())
    save_file(content, str(path), metadata | {"header": text})
    with pytest.raises(UserError, match="header"):
        load_avatar(path)
