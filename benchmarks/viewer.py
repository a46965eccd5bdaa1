"""The numbers in docs/viewer.md: posing, sorting and drawing in Chromium, the first picture, the offline file.

    python -m benchmarks.viewer me.avatar [--size 512] [--channels 24]

Chromium draws in software here (SwiftShader), so that drawing times are those of a CPU; posing and sorting run on the
CPU everywhere.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import load_avatar
from spatialavatar.avatar.residual import Residual
from spatialavatar.view.offline import write_offline_page
from tests.view.avatars import random_motion
from tests.view.browser import bytes_of, chromium, draw, open_page, wait_until

POSE_AND_SORT = """(frames) => {
  const scene = viewer.stage.scenes[0], motion = structuredClone(scene.packet.rest), pose = [], sort = [], both = [];
  const heap = () => performance.memory?.usedJSHeapSize ?? 0;
  for (let i = 0; i < frames + 30; i++) {
    for (let e = 0; e < motion.expression.length; e++) motion.expression[e] = 0.1 + 0.1 * Math.sin(i / 7 + e);
    const start = performance.now();
    scene.pose(motion);
    const middle = performance.now();
    scene.sort();
    const end = performance.now();
    if (i >= 30) { pose.push(middle - start); sort.push(end - middle); both.push(end - start); }
  }
  return { pose, sort, both };
}"""

ALLOCATED = """(frames) => {
  const scene = viewer.stage.scenes[0], motion = structuredClone(scene.packet.rest);
  const step = (i) => { motion.expression.fill(0.1 + i * 1e-6); scene.pose(motion); scene.sort(); };
  for (let i = 0; i < 50; i++) step(i);
  gc();
  const before = performance.memory.usedJSHeapSize;
  for (let i = 0; i < frames; i++) step(i);
  return (performance.memory.usedJSHeapSize - before) / frames;
}"""

DRAW_PLAIN = """([frames, size]) => {
  const { stage } = viewer;
  stage.resize(size, size);
  const times = [], pixel = new Uint8Array(4), gl = stage.renderer.canvas.getContext("webgl2");
  for (let i = 0; i < frames + 1; i++) {
    const start = performance.now();
    stage.draw();
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);   // waits until it is drawn
    if (i) times.push(performance.now() - start);
  }
  return times;
}"""

# The same picture with one instance for each Gaussian, its number an attribute: what most viewers of splats do.
DRAW_INSTANCED = """([frames, size]) => {
  const { stage } = viewer, { renderer } = stage, scene = stage.scenes[0];
  stage.resize(size, size);
  stage.draw();
  const gl = renderer.canvas.getContext("webgl2"), pixel = new Uint8Array(4);
  const [vertex, fragment] = gl.getAttachedShaders(renderer.program).map((shader) => gl.getShaderSource(shader));
  const program = gl.createProgram();
  const numbered = vertex
    .replace("gl_VertexID >> 2", "int(number)").replace("out vec2 reach", "in uint number;\\nout vec2 reach");
  for (const [kind, source] of [[gl.VERTEX_SHADER, numbered], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.bindAttribLocation(program, 0, "number");
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  const length = scene.order.length, numbers = new Uint32Array(length);
  for (let i = 0; i < length; i++) numbers[i] = scene.order.indices[6 * i] >> 2;
  const array = gl.createVertexArray(), buffer = gl.createBuffer();
  gl.bindVertexArray(array);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, numbers, gl.DYNAMIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribIPointer(0, 1, gl.UNSIGNED_INT, 0, 0);
  gl.vertexAttribDivisor(0, 1);
  const found = renderer.resources.get(scene), { camera } = scene, times = [];
  gl.useProgram(program);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const place = (name) => gl.getUniformLocation(program, name);
  gl.uniform4fv(place("camera"), Float32Array.from(camera.cameraFromWorld));
  gl.uniform4f(place("lens"), camera.focalX, camera.focalY, camera.centerX, camera.centerY);
  gl.uniform2f(place("size"), camera.width, camera.height);
  gl.uniform1i(place("gaussians"), 0);
  gl.uniform1i(place("frames"), 1);
  gl.activeTexture(gl.TEXTURE1);
  gl.bindTexture(gl.TEXTURE_2D, found.frames);
  gl.activeTexture(gl.TEXTURE0);
  gl.bindTexture(gl.TEXTURE_2D_ARRAY, found.gaussians);
  for (let i = 0; i < frames + 1; i++) {
    const start = performance.now();
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, length);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    if (i) times.push(performance.now() - start);
  }
  gl.bindVertexArray(null);
  return times;
}"""


def with_residual(avatar: Avatar, channels: int) -> Avatar:
    """The avatar with a residual head of some size, of small random numbers."""

    def some(*shape: int) -> torch.Tensor:
        return 0.01 * torch.randn(*shape)

    hidden = 64
    return replace(
        avatar,
        residual=Residual(
            some(len(avatar), channels), some(hidden, avatar.head.num_expressions + 12), some(hidden),
            some(8 * channels, hidden), some(8 * channels), some(13, channels), some(13),
        ),
    )  # fmt: skip


def differences(page: Any, avatar: Avatar, size: int) -> str:
    """Mean and largest of 20 poses' mean differences, where either of the two draws, over white."""
    motion, found = random_motion(avatar, 20), []
    for index in range(20):
        view = {"yaw": 0.08 * (index - 10), "pitch": 0.02 * (index % 7 - 3), "zoom": 1 + 0.05 * (index % 5)}
        camera = avatar.default_camera(size, **view)
        expected = bytes_of(avatar.render(motion[index], camera, torch.ones(3)))
        drawn = draw(page, motion[index], view, size, size).astype(float)
        either = (expected.min(-1) < 254) | (drawn.min(-1) < 254)
        found.append(float(abs(drawn - expected)[either].mean()))
    return f"{statistics.mean(found):.2f} in the mean, {max(found):.2f} at most"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--channels", type=int, default=24)
    options = parser.parse_args()
    avatar = replace(load_avatar(options.avatar), residual=None)
    print(f"{len(avatar):,} Gaussians, {avatar.head.num_vertices:,} vertices")
    with (
        chromium("--js-flags=--expose-gc", "--enable-precise-memory-info") as browser,
        tempfile.TemporaryDirectory() as folder,
    ):
        for name, subject in (("plain", avatar), ("residual head", with_residual(avatar, options.channels))):
            path = write_offline_page(subject, Path(folder) / "me.html")
            firsts = []
            for _ in range(3):
                page = open_page(browser, path.as_uri(), width=options.size + 340, height=options.size)
                wait_until(page, "viewer.shown > 0")
                firsts.append(page.evaluate("viewer.shown"))
                page.close()
            page = open_page(browser, path.as_uri(), width=options.size + 340, height=options.size)
            times = page.evaluate(POSE_AND_SORT, options.frames)
            text = ", ".join(f"{key} {statistics.median(v):.2f} ({min(v):.2f})" for key, v in times.items())
            print(f"{name}: milliseconds in the median (and the quickest): {text}")
            print(f"  bytes allocated per frame: {page.evaluate(ALLOCATED, options.frames):.0f}")
            print(f"  offline file {path.stat().st_size / 1e6:.2f} MB; first picture after {min(firsts):.0f} ms")
            size = options.size
            print(f"  mean difference to the Python renderer, 20 poses: {differences(page, subject, size)} / 255")
            if subject is avatar:
                for kind, script in (("plain triangles", DRAW_PLAIN), ("instanced", DRAW_INSTANCED)):
                    drawn = page.evaluate(script, [5, size])
                    print(f"  drawn as {kind} at {size} x {size}: {statistics.median(drawn):.0f} ms")
            page.close()


if __name__ == "__main__":
    main()
