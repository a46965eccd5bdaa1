"""The page's other renderer agrees with the first, and with Python's."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spatialavatar.avatar.residual import Residual
from spatialavatar.view.offline import write_offline_page
from tests.view.avatars import lit_avatar, random_motion, varied_avatar
from tests.view.browser import bytes_of, chromium, draw, javascript_motion, open_page
from tests.view.webgpu import pictures

SIZE = 96
VIEWS = ({}, {"yaw": 0.5, "pitch": 0.2}, {"yaw": -0.9}, {"pitch": -0.4, "zoom": 1.7}, {"zoom": 0.6})


def test_webgpu_agrees_with_webgl_and_python(tmp_path: Path) -> None:
    """20 poses of two avatars side by side, one with a residual head and a light."""
    avatars = [varied_avatar(96), lit_avatar(96)]
    assert isinstance(avatars[1].residual, Residual)
    motions, width = random_motion(avatars[0], 20), 2 * SIZE
    address = write_offline_page(avatars, tmp_path / "both.html").as_uri()
    frames = [
        {"motion": javascript_motion(motions[i]), "view": VIEWS[i % len(VIEWS)], "width": width, "height": SIZE}
        for i in range(20)
    ]
    found = pictures(address, frames)
    assert found["complaints"] == []
    for i in range(20):
        view = VIEWS[i % len(VIEWS)]
        for place, avatar in enumerate(avatars):
            camera = avatar.default_camera(SIZE, view.get("yaw", 0), view.get("pitch", 0), view.get("zoom", 1))
            expected = bytes_of(avatar.render(motions[i], camera, torch.ones(3)))
            picture = found["pictures"][i][:, place * SIZE : (place + 1) * SIZE].astype(np.float32)
            drawn = (expected.min(-1) < 254) | (picture.min(-1) < 254)
            # As for WebGL2: asked for are 2, and eight bits per blend leave a third of that.
            assert np.abs(picture - expected)[drawn].mean() < 1.0, (i, place)
    saved = np.asarray(Image.open(io.BytesIO(found["saved"])))
    assert saved.shape == (SIZE, width, 4) and saved[0, 0, 3] == 0 and saved[..., 3].max() > 250
    # The device was lost in between.
    assert np.array_equal(found["pictures"][-1], found["pictures"][-2])
    # A GPU's pictures are the page's first choice, unless it draws none.
    assert found["unasked"].startswith("WebGPU") and found["broken"].startswith("WebGL2")
    if "screen" in found:
        # The screen's way through the browser's compositor rounds here and there.
        assert np.abs(found["screen"].astype(int) - found["read"]).max() <= 1
        assert found["screen"].std() > 10
    with chromium() as browser:
        page = open_page(browser, address, offline=True)
        # Where drawing is in software, nobody gets WebGPU who does not ask.
        assert page.evaluate("viewer.stage.renderer.deviceName").startswith("WebGL2")
        for i in range(3):
            other = draw(page, motions[i], VIEWS[i], width, SIZE, index=0)[:, :SIZE].astype(int)
            # The same blends in the same order: a rounding in the last of eight bits here and there.
            assert np.abs(other - found["pictures"][i][:, :SIZE]).mean() < 0.1
