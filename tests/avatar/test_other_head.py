"""An avatar of a head that may not be passed on: its file names the head, and opens with the user's own copy."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import load_avatar, save_avatar
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.cli.main import main
from spatialavatar.cli.run import BAD_INPUT, OK
from spatialavatar.errors import UserError
from spatialavatar.head import build_uv_layout, load_flame
from tests.head.synthetic import flame_arrays, write


def flame_file(path: Path, seed: int = 0) -> Path:
    """A model in FLAME's format whose triangles lie side by side in the texture."""
    arrays = flame_arrays(seed)
    count = len(arrays["f"])
    corners = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]])
    cells = np.stack([np.arange(count) % 9, np.arange(count) // 9], -1)
    arrays["vt"] = ((cells[:, None] + corners) / 9).reshape(-1, 2)
    arrays["ft"] = np.arange(3 * count).reshape(-1, 3)
    write(path, arrays)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    head = load_flame(flame_file(tmp_path / "flame.npz"), teeth=False)
    layout = build_uv_layout(head, 64)
    generator = torch.Generator().manual_seed(0)
    count = len(layout)
    gaussians = LocalGaussians(
        positions=torch.zeros(count, 3),
        quaternions_wxyz=torch.tensor([1.0, 0, 0, 0]).expand(count, 4).contiguous(),
        log_scales=torch.full((count, 3), -3.0),
        opacity_logits=torch.full((count,), 2.0),
        colors=torch.rand(count, 3, generator=generator),
    )
    save_avatar(Avatar(head, layout, torch.zeros(20), gaussians), tmp_path / "her.avatar")
    return tmp_path


def test_the_file_holds_none_of_the_model(folder: Path) -> None:
    with pytest.raises(UserError, match="needs the head flame-") as raised:
        load_avatar(folder / "her.avatar")
    assert "--head" in str(raised.value.hint)


def test_it_opens_with_the_users_own_copy(folder: Path) -> None:
    avatar = load_avatar(folder / "her.avatar", folder / "flame.npz")
    image = avatar.render(camera=avatar.default_camera(48), background=torch.ones(3))
    assert bool(image.isfinite().all()) and float(image[..., 3].max()) > 0.5


def test_another_edition_is_refused(folder: Path) -> None:
    flame_file(folder / "newer.npz", seed=1)
    with pytest.raises(UserError, match=r"needs the head flame-.* the head given is flame-"):
        load_avatar(folder / "her.avatar", folder / "newer.npz")


def test_the_command_line_takes_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["render", "her.avatar", "-o", "her.mp4", "--size", "32", "--frames", "90:130:4"]
    assert main(arguments) == BAD_INPUT
    assert "Give that head's file with --head" in capsys.readouterr().err
    assert main([*arguments, "--head", "flame.npz"]) == OK
    assert main([*arguments, "--head-uv", "flame.npz"]) == BAD_INPUT
    assert "--head-uv belongs to --head" in capsys.readouterr().err
    assert main(["info", "her.avatar"]) == OK, "its header needs no head"
