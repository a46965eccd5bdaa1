"""Spark, the renderer of Gaussians for three.js, in a browser; it comes with `npm ci` in web/."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.tools import needs_tool
from tests.view.browser import chromium, wait_until

_PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="importmap">{"imports": {
  "three": "/node_modules/three/build/three.module.js", "three/addons/": "/node_modules/three/examples/jsm/",
  "@sparkjsdev/spark": "/node_modules/@sparkjsdev/spark/dist/spark.module.js"
}}</script>
<script type="module">
import * as THREE from "three";
import { SparkRenderer, SplatMesh } from "@sparkjsdev/spark";
const renderer = new THREE.WebGLRenderer({ antialias: false, preserveDrawingBuffer: true });
document.body.append(renderer.domElement);
const scene = new THREE.Scene();
scene.background = new THREE.Color(1, 1, 1);
scene.add(new SparkRenderer({ renderer }));
let shown = null;
window.show = async (file, turned, size, degrees, distance) => {
  if (shown !== null) { scene.remove(shown); shown.dispose(); }
  renderer.setSize(size, size);
  const camera = new THREE.PerspectiveCamera(degrees, 1, 0.01, 10);
  renderer.render(scene, camera);
  const blank = renderer.domElement.toDataURL("image/png");
  camera.position.set(0, 0, distance);
  shown = new SplatMesh({ url: file });
  if (turned) shown.quaternion.set(1, 0, 0, 0);
  scene.add(shown);
  await shown.initialized;
  // Spark sorts beside the page: the picture is there when it stays the same for a while.
  for (let same = 0, before = ""; same < 5; ) {
    renderer.render(scene, camera);
    const now = renderer.domElement.toDataURL("image/png");
    same = now === before && now !== blank ? same + 1 : 0;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  window.picture = renderer.domElement.toDataURL("image/png");
  window.count = shown.packedSplats?.numSplats ?? shown.numSplats;
};
window.ready = true;
</script>"""


@contextmanager
def spark(folder: Path) -> Iterator[Any]:
    """A page with Spark that shows files of a folder."""
    (folder / "index.html").write_text(_PAGE, "utf-8")
    (folder / "node_modules").symlink_to(needs_tool("npm packages"), target_is_directory=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with chromium() as browser:
            page = browser.new_page()
            page.complaints = []
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            wait_until(page, "window.ready === true")
            yield page
    finally:
        server.shutdown()


def picture(page: Any, file: str, *, turned: bool, size: int, degrees: float, distance: float) -> np.ndarray:
    """(H, W, 3) floats in [0, 1]: the file over white, seen from `distance` metres in front."""
    page.evaluate("window.picture = undefined")
    page.evaluate("(given) => { show(...given) }", [file, turned, size, degrees, distance])
    wait_until(page, "window.picture !== undefined", 60)
    data = base64.b64decode(page.evaluate("window.picture").partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.float32) / 255
