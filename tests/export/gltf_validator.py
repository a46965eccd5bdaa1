"""The Khronos Group's glTF validator, where Node.js and its npm package are at hand."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
# It comes with `npm ci` in web/; NODE_PATH is looked at too.
_PLACES = [str(ROOT / "web"), str(ROOT)]
_SCRIPT = """
const fs = require("fs");
const [places, file] = JSON.parse(process.argv[1]);
let found;
try { found = require.resolve("gltf-validator", { paths: places }); } catch {
  try { found = require.resolve("gltf-validator"); } catch { process.exit(3); }
}
if (!file) process.exit(0);
require(found).validateBytes(new Uint8Array(fs.readFileSync(file)), { maxIssues: 100 })
  .then((report) => console.log(JSON.stringify(report.issues)));
"""


def validate(path: Path) -> dict[str, Any]:
    """The validator's `issues`: numErrors, numWarnings, messages; skips the test where there is no validator."""
    reason = _missing()
    if reason:
        pytest.skip(reason)
    done = _node(str(path))
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@lru_cache(maxsize=1)
def _missing() -> str:
    if shutil.which("node") is None:
        return "Node.js is not installed, so the Khronos validator cannot run"
    return "" if _node(None).returncode == 0 else "the npm package gltf-validator is missing: cd web && npm ci"


def _node(file: str | None) -> subprocess.CompletedProcess[str]:
    arguments = ["node", "-e", _SCRIPT, json.dumps([_PLACES, file])]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60)
