"""Pictures that the page draws with WebGPU, in a Chromium of their own.

WebGPU in software is young: a browser whose graphics process stands still would never answer. So this runs as a program
of its own, which can be ended: `python -m tests.view.webgpu` reads a job from its input and writes what came of it.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tools import TOOLS, needs_tool
from tests.view.browser import QUIET

ARGUMENTS = (
    *QUIET,
    *("--no-sandbox", "--force-color-profile=srgb", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--enable-features=Vulkan", "--use-vulkan=swiftshader"),
)
# Without these, and without a screen, Chromium's graphics process ends as soon as WebGPU draws to a canvas in software.
HEADLESS = ("--disable-vulkan-surface", "--disable-gpu-compositing")
ROOT = Path(__file__).parents[2]

DRAW = """async ([motion, view, width, height]) => {
  const { stage } = viewer;
  const typed = Object.fromEntries(Object.entries(motion).map(([key, list]) => [key, Float32Array.from(list)]));
  for (const scene of stage.scenes) stage.pose(scene, typed);
  Object.assign(stage.view, { yaw: 0, pitch: 0, zoom: 1, shiftX: 0, shiftY: 0 }, view);
  stage.background = [1, 1, 1];
  stage.resize(width, height);
  stage.draw();
  const pixels = await stage.renderer.readPixels();
  let text = "";
  for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
  return btoa(text);
}"""

SAVED = """async () => {
  viewer.stage.background = null;
  viewer.stage.draw();
  const blob = await new Promise((resolve) => viewer.stage.renderer.canvas.toBlob(resolve, "image/png"));
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}"""

LOSE = """async () => {
  const { renderer } = viewer.stage, first = renderer.current.device;
  const restored = renderer.restored;
  const back = new Promise((resolve) => { renderer.restored = () => { restored(); resolve(); }; });
  first.destroy();
  await back;
  return renderer.current.device !== first;
}"""


# A device that is not known to draw in software; and one that draws nothing.
HARDWARE = """for (const [key, value] of [["vendor", "acme"], ["architecture", ""], ["description", ""]]) {
  Object.defineProperty(GPUAdapterInfo.prototype, key, { get: () => value });
}
Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });"""
BROKEN = HARDWARE + "GPURenderPassEncoder.prototype.drawIndexed = () => {};"

# What the page reads back of a picture that it leaves on the screen, with nothing in front of it.
ON_SCREEN = """async () => {
  for (const id of ["toolbar", "names", "hint", "message"]) document.getElementById(id).style.visibility = "hidden";
  viewer.draw(1);
  const pixels = await viewer.stage.renderer.readPixels();
  let text = "";
  for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
  return [btoa(text), viewer.stage.renderer.canvas.width, viewer.stage.renderer.canvas.height];
}"""


def pictures(page: str, frames: list[dict[str, Any]], seconds: float = 180) -> dict[str, Any]:
    """Draw frames, then save a transparent picture, then lose the device and draw the last frame again.

    Args:
        page: Address of an offline page.
        frames: `motion` as `browser.javascript_motion` gives it, `view`, `width`, `height`.

    Returns:
        `device`; `pictures`: (H, W, 3) bytes, one more than frames; `saved`: bytes of a PNG; `complaints`;
        `unasked` and `broken`: what draws where WebGPU is not asked for, on a device that seems to be a GPU, and on one
        that draws nothing. Where Xvfb is installed, also `read` and `screen`: (H, W, 3) bytes of the page's picture as
        it reads it back, and as it stands on a screen. Skips the test where there is no WebGPU.
    """
    chromium = needs_tool("chromium")
    needs_tool("playwright")
    xvfb = TOOLS["xvfb-run"].find()
    job = json.dumps({"page": page, "frames": frames, "chromium": chromium, "screen": xvfb is not None})
    screen = [] if xvfb is None else [xvfb, "-a", "-s", "-screen 0 900x600x24"]
    process = subprocess.Popen(
        [*screen, sys.executable, "-m", "tests.view.webgpu"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(job, timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise AssertionError(f"drawing with WebGPU in software was not done after {seconds:.0f} s") from None
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(output)
    if "missing" in result:
        pytest.skip(result["missing"])
    shapes = [(frame["height"], frame["width"], 4) for frame in [*frames, frames[-1]]]
    drawn = [np.frombuffer(base64.b64decode(text), np.uint8) for text in result["pictures"]]
    result["pictures"] = [pixels.reshape(shape)[..., :3] for pixels, shape in zip(drawn, shapes, strict=True)]
    result["saved"] = base64.b64decode(result["saved"])
    if "screen" in result:
        text, width, height = result["read"]
        result["read"] = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., :3]
        picture = Image.open(io.BytesIO(base64.b64decode(result["screen"]))).convert("RGB")
        result["screen"] = np.asarray(picture)[:height, :width]
    return result


def _main() -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    job = json.load(sys.stdin)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=job["chromium"],
            headless=not job["screen"],
            args=[*ARGUMENTS, *(() if job["screen"] else HEADLESS)],
        )
        page = browser.new_page(viewport={"width": 600, "height": 200})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda text: complaints.append(text.text) if text.type in ("error", "warning") else None)
        page.goto(f"{job['page']}#webgpu")
        _wait(page, "window.viewer !== undefined")
        device = page.evaluate("viewer.stage.renderer.deviceName")
        if not device.startswith("WebGPU"):
            return {"missing": f"this browser has no WebGPU, not even in software; it draws with {device}"}
        drawn = []
        for frame in job["frames"]:
            last = [frame["motion"], frame["view"], frame["width"], frame["height"]]
            drawn.append(page.evaluate(DRAW, last))
        saved = page.evaluate(SAVED)
        assert page.evaluate(LOSE)
        drawn.append(page.evaluate(DRAW, last))
        result = {"device": device, "pictures": drawn, "saved": saved, "complaints": complaints}
        if job["screen"]:
            result["read"] = page.evaluate(ON_SCREEN)
            page.wait_for_timeout(500)
            result["screen"] = base64.b64encode(page.screenshot()).decode()
        page.close()
        for name, script, condition in (
            ("unasked", HARDWARE, "window.viewer !== undefined && viewer.shown > 0"),
            ("broken", BROKEN, "window.viewer?.stage.renderer.deviceName.startsWith('WebGL2')"),
        ):
            page = browser.new_page(viewport={"width": 600, "height": 200})
            page.add_init_script(script)
            page.goto(job["page"])
            _wait(page, condition)
            result[name] = page.evaluate("viewer.stage.renderer.deviceName")
            page.close()
        browser.close()
    return result


def _wait(page: Any, condition: str) -> None:
    end = time.monotonic() + 50
    while time.monotonic() < end:
        try:
            if page.evaluate(condition):
                return
        except Exception:  # the page is being loaded anew
            pass
        page.wait_for_timeout(30)


if __name__ == "__main__":
    print(json.dumps(_main()))
