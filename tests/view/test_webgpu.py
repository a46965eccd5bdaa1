"""The page's other renderer agrees with the first, and with Python's."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.residual import Residual
from spatialavatar.head.motion import Motion
from spatialavatar.view.offline import write_offline_page
from tests.tools import needs_tool
from tests.view.avatars import lit_avatar, random_motion, varied_avatar
from tests.view.browser import bytes_of, chromium, draw, javascript_motion, open_page
from tests.view.webgpu import pictures

pytestmark = pytest.mark.browser

SIZE = 96
VIEWS = ({}, {"yaw": 0.5, "pitch": 0.2}, {"yaw": -0.9}, {"pitch": -0.4, "zoom": 1.7}, {"zoom": 0.6})


@dataclass(frozen=True)
class Drawn:
    """20 poses of two avatars side by side, one with a residual head and a light, drawn with WebGPU."""

    avatars: list[Avatar]
    motions: Motion
    address: str
    found: dict[str, Any]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    avatars = [varied_avatar(96), lit_avatar(96)]
    assert isinstance(avatars[1].residual, Residual)
    motions = random_motion(avatars[0], 20)
    address = write_offline_page(avatars, tmp_path_factory.mktemp("page") / "both.html").as_uri()
    frames = [
        {"motion": javascript_motion(motions[i]), "view": VIEWS[i % len(VIEWS)], "width": 2 * SIZE, "height": SIZE}
        for i in range(20)
    ]
    return Drawn(avatars, motions, address, pictures(address, frames))


def test_webgpu_agrees_with_python(drawn: Drawn) -> None:
    avatars, motions, found = drawn.avatars, drawn.motions, drawn.found
    assert found["complaints"] == []
    for i in range(20):
        view = VIEWS[i % len(VIEWS)]
        for place, avatar in enumerate(avatars):
            camera = avatar.default_camera(SIZE, view.get("yaw", 0), view.get("pitch", 0), view.get("zoom", 1))
            expected = bytes_of(avatar.render(motions[i], camera, torch.ones(3)))
            picture = found["pictures"][i][:, place * SIZE : (place + 1) * SIZE].astype(np.float32)
            covered = (expected.min(-1) < 254) | (picture.min(-1) < 254)
            # As for WebGL2: asked for are 2, and eight bits per blend leave a third of that.
            assert np.abs(picture - expected)[covered].mean() < 1.0, (i, place)
    saved = np.asarray(Image.open(io.BytesIO(found["saved"])))
    assert saved.shape == (SIZE, 2 * SIZE, 4) and saved[0, 0, 3] == 0 and saved[..., 3].max() > 250
    # The device was lost in between.
    assert np.array_equal(found["pictures"][-1], found["pictures"][-2])
    # A GPU's pictures are the page's first choice, unless it draws none.
    assert found["unasked"].startswith("WebGPU") and found["broken"].startswith("WebGL2")


def test_the_screen_shows_what_the_page_reads_back(drawn: Drawn) -> None:
    needs_tool("xvfb-run")
    # The screen's way through the browser's compositor rounds here and there.
    assert np.abs(drawn.found["screen"].astype(int) - drawn.found["read"]).max() <= 1
    assert drawn.found["screen"].std() > 10


def test_webgpu_agrees_with_webgl(drawn: Drawn) -> None:
    with chromium() as browser:
        page = open_page(browser, drawn.address, offline=True)
        # Where drawing is in software, nobody gets WebGPU who does not ask.
        assert page.evaluate("viewer.stage.renderer.deviceName").startswith("WebGL2")
        for i in range(3):
            other = draw(page, drawn.motions[i], VIEWS[i], 2 * SIZE, SIZE, index=0)[:, :SIZE].astype(int)
            # The same blends in the same order: a rounding in the last of eight bits here and there.
            assert np.abs(other - drawn.found["pictures"][i][:, :SIZE]).mean() < 0.1
