"""The Khronos Group's glTF validator, which comes with `npm ci` in web/."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.tools import WEB, needs_tool

_SCRIPT = """
const fs = require("fs");
const [folder, file] = JSON.parse(process.argv[1]);
require(require.resolve("gltf-validator", { paths: [folder] }))
  .validateBytes(new Uint8Array(fs.readFileSync(file)), { maxIssues: 100 })
  .then((report) => console.log(JSON.stringify(report.issues)));
"""


def validate(path: Path) -> dict[str, Any]:
    """The validator's `issues`: numErrors, numWarnings, messages (tests that use it are marked node)."""
    needs_tool("npm packages")
    command = [needs_tool("node"), "-e", _SCRIPT, json.dumps([str(WEB), str(path)])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result
