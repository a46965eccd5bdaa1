"""The .ply and .spz of an avatar in Spark, and in three.js' own readers."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialavatar.export.place import posed, y_down
from spatialavatar.export.ply import write_ply
from spatialavatar.export.spz import write_spz
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render
from tests.export.spark import picture, spark
from tests.synthetic import painted_avatar
from tests.tools import needs_tool

pytestmark = pytest.mark.node

SIZE, DEGREES, DISTANCE = 192, 30, 1.0

_READ = """
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const [modules, ply, spz] = process.argv.slice(2);
const loader = (name) => import(pathToFileURL(`${modules}/three/examples/jsm/loaders/${name}.js`));
const bytes = (file) => Uint8Array.from(readFileSync(file)).buffer;
const { GaussianSplatPLYLoader } = await loader("GaussianSplatPLYLoader");
const { SPZLoader } = await loader("SPZLoader");
const read = [await new GaussianSplatPLYLoader().parse(bytes(ply)), await new SPZLoader().parse(bytes(spz))];
console.log(JSON.stringify(read.map(({ attributes }) =>
  Object.fromEntries(Object.entries(attributes).map(([name, { array }]) => [name, Array.from(array)])))));
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WorldGaussians]:
    folder = tmp_path_factory.mktemp("exports")
    gaussians = posed(painted_avatar(48))
    write_ply(y_down(gaussians), folder / "me.ply")
    write_spz(gaussians, folder / "me.spz")
    return folder, gaussians


@pytest.mark.browser
def test_spark_shows_the_right_picture(files: tuple[Path, WorldGaussians]) -> None:
    folder, gaussians = files
    camera = Camera.look_at(
        (0.0, 0.0, DISTANCE),
        (0.0, 0.0, 0.0),
        width=SIZE,
        height=SIZE,
        vertical_field_of_view=math.radians(DEGREES),
    )
    expected = render(gaussians, camera, torch.ones(3)).image.numpy()
    with spark(folder) as page:
        # A .ply has y down: turned as viewers do.
        for name, turned in (("me.ply", True), ("me.spz", False)):
            found = picture(page, name, turned=turned, size=SIZE, degrees=DEGREES, distance=DISTANCE)
            drawn = (expected.min(-1) < 0.99) | (found.min(-1) < 0.99)
            # 3.5 / 255 were measured: Spark cuts Gaussians off elsewhere and packs them. Upside down, mirrored, or in
            # linear colours it would be above 20.
            assert np.abs(found - expected)[drawn].mean() < 6 / 255, name
            assert page.evaluate("window.count") == len(gaussians)
        assert page.complaints == []


def test_three_reads_the_same_gaussians(files: tuple[Path, WorldGaussians], tmp_path: Path) -> None:
    folder, gaussians = files
    (tmp_path / "read.mjs").write_text(_READ, "utf-8")
    modules = needs_tool("npm packages")
    command = [needs_tool("node"), tmp_path / "read.mjs", modules, folder / "me.ply", folder / "me.spz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    turned = y_down(gaussians)
    # Half a step of .spz's fixed point, and float32 rounding.
    for read, truth, tolerance in zip(json.loads(done.stdout), (turned, gaussians), (1e-7, 0.5 / 2**16), strict=True):
        positions = np.asarray(read["position"]).reshape(-1, 3)
        assert np.abs(positions - truth.positions.numpy()).max() < tolerance + 1e-7
        color = np.asarray(read["color"]).reshape(-1, 4) / 255
        expected = torch.cat([truth.colors, truth.opacities[:, None]], -1).numpy()
        # Eight bits, twice for the .spz, which keeps colours in steps of 0.0074.
        assert np.abs(color - expected).max() < 0.006
