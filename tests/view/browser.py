"""A real browser for tests: Debian's Chromium, drawing in software, driven by Playwright."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from spatialavatar.head.motion import Motion
from tests.tools import needs_tool

# Nothing that a browser does for its maker: no updates, no reports, no lists of dangerous addresses.
QUIET = (
    *("--disable-background-networking", "--disable-component-update", "--disable-domain-reliability"),
    *("--disable-sync", "--no-default-browser-check", "--no-first-run", "--no-pings", "--metrics-recording-only"),
)
# Chromium's sandbox refuses to start as root, as which containers run; only pages of our own are opened.
ARGUMENTS = (
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox", "--force-color-profile=srgb"),
    *QUIET,
)
_KEYS = {
    "expression": "expression",
    "global_rotation": "globalRotation",
    "neck_rotation": "neckRotation",
    "jaw_rotation": "jawRotation",
    "eyes_rotation": "eyesRotation",
    "translation": "translation",
    "neck_translation": "neckTranslation",
}


@contextlib.contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """A running Chromium; skips the test with the reason where there is none (tests that use it are marked browser)."""
    path = needs_tool("chromium")
    needs_tool("playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *arguments])
        yield browser
        browser.close()


def open_page(browser: Any, address: str, *, width: int = 780, height: int = 360, offline: bool = False) -> Any:
    """A page with its avatar shown; what it complains of fails the test (see `complaints`)."""
    context = browser.new_context(viewport={"width": width, "height": height}, offline=offline, accept_downloads=True)
    page = context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda text: page.complaints.append(text.text) if text.type == "error" else None)
    page.goto(address)
    wait_until(page, "window.viewer !== undefined", 30)
    return page


def wait_until(page: Any, condition: str, seconds: float = 20.0) -> None:
    """Wait for a JavaScript condition. (Playwright's own waiting needs eval, which the page's policy forbids.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never came true: {condition}; the page says {page.inner_text('#message')!r}"
        page.wait_for_timeout(30)


def javascript_motion(motion: Motion) -> dict[str, list[float]]:
    """One frame as the page's `Motion`, its arrays as lists."""
    return {name: getattr(motion, key)[0].tolist() for key, name in _KEYS.items()}


DRAW = """async ([index, motion, view, width, height]) => {
  const { stage } = viewer;
  const scene = stage.scenes[index];
  const typed = Object.fromEntries(Object.entries(motion).map(([key, list]) => [key, Float32Array.from(list)]));
  stage.pose(scene, typed);
  Object.assign(stage.view, { yaw: 0, pitch: 0, zoom: 1, shiftX: 0, shiftY: 0 }, view);
  stage.background = [1, 1, 1];
  stage.resize(width, height);
  stage.draw();
  let text = "";
  const pixels = await stage.renderer.readPixels();
  for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
  return btoa(text);
}"""


def draw(page: Any, motion: Motion, view: dict[str, float], width: int, height: int, index: int = 0) -> np.ndarray:
    """(H, W, 3) bytes of the page's picture over white."""
    import base64

    text = page.evaluate(DRAW, [index, javascript_motion(motion), view, width, height])
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., :3]


def wait_for_message(page: Any, text: str) -> None:
    """Wait until the page says something."""
    wait_until(page, f"document.getElementById('message').textContent.includes({json.dumps(text)})")


def bytes_of(image: torch.Tensor) -> np.ndarray:
    """(H, W, 3 or 4) floats as the renderer gives them -> (H, W, 3) bytes, not rounded."""
    return (image[..., :3].clamp(0, 1) * 255).numpy()
