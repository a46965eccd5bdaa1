"""LPIPS against a slow one in numpy, with random weights in the layouts of the real files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spatialavatar.errors import UserError
from spatialavatar.splat.lpips import VARIABLE, load_lpips
from tests.oracles import lpips as oracle

SHAPES = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


def weights(seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Random AlexNet (scaled so that activations neither die nor grow) and linear layers, in their files' layouts."""
    random = torch.Generator().manual_seed(seed)
    network, linear = {}, {}
    for number, (position, shape) in enumerate(SHAPES.items()):
        gain = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        network[f"features.{position}.weight"] = torch.randn(shape, generator=random) * gain
        network[f"features.{position}.bias"] = torch.randn(shape[0], generator=random) * 0.05
        linear[f"lin{number}.model.1.weight"] = torch.rand(1, shape[0], 1, 1, generator=random)
    network["classifier.1.weight"] = torch.zeros(2, 2)  # the real file holds the classifier too
    return network, linear


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv(VARIABLE, raising=False)
    network, linear = weights()
    torch.save(network, tmp_path / "alexnet-owt-7be5be79.pth")
    save_file(linear, tmp_path / "alex.safetensors")
    return tmp_path


def test_equals_the_slow_one(folder: Path) -> None:
    network, linear = weights()
    images = torch.rand(2, 70, 83, 3, generator=torch.Generator().manual_seed(1))
    rows = [row.flatten().double().numpy() for row in linear.values()]
    slow = oracle.distance(
        images[0].double().numpy(),
        images[1].double().numpy(),
        {key: value.double().numpy() for key, value in network.items()},
        rows,
    )
    lpips = load_lpips(folder)
    fast = lpips(images[:1].permute(0, 3, 1, 2), images[1:].permute(0, 3, 1, 2))
    # float32 against float64 through five layers.
    assert fast.shape == (1,) and float(fast) == pytest.approx(slow, rel=1e-4)


def test_equal_pictures_are_0_apart_and_others_pull_towards_the_target(folder: Path) -> None:
    lpips = load_lpips(folder)
    target = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert float(lpips(target, target)) == 0
    image = target.clone().mul_(0.5).requires_grad_()
    before = lpips(image, target)
    (gradient,) = torch.autograd.grad(before.sum(), image)
    assert bool(torch.isfinite(gradient).all())
    with torch.no_grad():
        step = 0.01 / float(gradient.norm())
        assert float(lpips(image - step * gradient, target)) < float(before)


def test_black_pictures_are_finite(folder: Path) -> None:
    black = torch.zeros(1, 3, 64, 64, requires_grad=True)
    value = load_lpips(folder)(black, torch.ones(1, 3, 64, 64))
    value.sum().backward()
    assert bool(torch.isfinite(value).all()) and bool(torch.isfinite(black.grad).all())


def test_the_id_names_the_weights(folder: Path) -> None:
    first = load_lpips(folder).id
    network, _ = weights(seed=1)
    torch.save(network, folder / "alexnet-owt-7be5be79.pth")
    assert first.startswith("lpips-alex-0.1-") and load_lpips(folder).id != first


def test_the_environment_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(folder))
    assert np.isfinite(len(load_lpips().id))


def test_a_missing_file_says_where_to_get_it(folder: Path) -> None:
    (folder / "alexnet-owt-7be5be79.pth").unlink()
    with pytest.raises(UserError, match="AlexNet's weights") as caught:
        load_lpips(folder)
    assert "torchvision" in str(caught.value) and VARIABLE in str(caught.value)


def test_wrong_files_are_named(folder: Path) -> None:
    path = folder / "alexnet-owt-7be5be79.pth"
    network, _ = weights()
    network["features.3.weight"] = network["features.3.weight"][:64]
    torch.save(network, path)
    with pytest.raises(UserError, match=r"features\.3\.weight.*\(192, 64, 5, 5\).*found \(64"):
        load_lpips(folder)
    path.write_bytes(b"not weights")
    with pytest.raises(UserError, match="no plain weights"):
        load_lpips(folder)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="expected named weights"):
        load_lpips(folder)


def test_real_linear_layers_are_found_where_torchmetrics_keeps_them(folder: Path) -> None:
    pytest.importorskip("torchmetrics", reason="the linear layers come with torchmetrics")
    (folder / "alex.safetensors").unlink()
    lpips = load_lpips(folder)
    assert all(bool((row >= 0).all()) for row in lpips.linear)
