"""`spatialavatar doctor`: is everything there, and what to run where it is not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spatialavatar.cli.heads import HeadOptions
from spatialavatar.cli.run import BUG, OK, Common, say, shown
from spatialavatar.errors import UserError
from spatialavatar.versions import OPENCV, distribution_version

_REINSTALL = "pip install --force-reinstall spatialavatar"
_LEAST_DISK_GB = 2.0
_LEAST_MEMORY_GB = 3.0
_STATES = {"ok": "ok", "missing": "problem", "note": "-"}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    state: "ok", "missing" (a problem), or "note" (optional, or for information).
    value: What was found: nothing that names a person, a file or a folder.
    remedy: The next command to run, where something is missing.
    private: More for this terminal only: folders, names of files, what an error said.
    """

    name: str
    state: str
    value: str
    remedy: str = ""
    private: str = ""


@dataclass(frozen=True, kw_only=True)
class Doctor(HeadOptions, Common):
    """Check Python, the libraries, the rasteriser, the models, video codecs, heads, the page, the GPU and disk space.
    Every problem comes with the next command to run. The exit code is 0 when avatars can be made, else 1.

    For example:
        spatialavatar doctor --head FLAME2023.pkl
        spatialavatar doctor --report
    """

    report: bool = False
    """Print it for an issue: versions and this system, without names of people, files or folders."""

    def run(self) -> int:
        findings = examine(self)
        problems = sum(finding.state == "missing" for finding in findings)
        if self.report:
            say(issue_report(findings))
            return BUG if problems else OK
        _show(findings)
        if problems:
            say(f"\n{problems} problem{'s' if problems > 1 else ''}: run what stands beneath each, then this again.")
            return BUG
        say("\nEverything is there. Next: spatialavatar demo")
        return OK


def _show(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    signs = {"ok": ("ok", "green"), "missing": ("problem", "bold red"), "note": ("-", "dim")}
    table = Table("", "", "", show_header=False, box=None)
    for finding in findings:
        sign, style = signs[finding.state]
        value = f"{finding.value} ({finding.private})" if finding.private else finding.value
        table.add_row(Text(sign, style=style), Text(finding.name, style="bold"), shown(value))
        if finding.remedy:
            table.add_row("", "", Text(finding.remedy, style="yellow" if finding.state == "missing" else "dim"))
    Console().print(table)


def issue_report(findings: Sequence[Finding]) -> str:
    """Markdown to paste into an issue."""
    lines = ["| what | state | found |", "| --- | --- | --- |"]
    lines += [f"| {finding.name} | {_STATES[finding.state]} | {finding.value} |" for finding in findings]
    return "\n".join([f"System: {platform.system()} {platform.release()}, {platform.machine()}", "", *lines])


def examine(heads: HeadOptions | None = None) -> list[Finding]:
    """All findings; no check can end the others."""
    checks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("Python", _python),
        ("torch", _torch),
        ("libraries", _libraries),
        ("OpenCV", _opencv),
        ("rasteriser", _native),
        ("package", _package),
        ("tracker", _tracker),
        ("generator", _generator),
        ("video", _video),
        ("open head", _open_head),
        ("page", _page),
        ("live driving", _websockets),
        ("GPU", _gpu),
        ("disk", _disk),
        ("memory", _memory),
    ]
    if heads is not None and (heads.head is not None or heads.head_uv is not None):
        place = 1 + [name for name, _ in checks].index("open head")
        checks.insert(place, ("head given", lambda: _given_head(heads)))
    findings = []
    for name, check in checks:
        try:
            findings += check()
        except UserError as error:
            findings.append(Finding(name, "missing", "cannot be used", error.hint or "", private=error.what))
        except Exception as error:  # a broken installation fails in its own ways; the others are still worth a look
            findings.append(Finding(name, "missing", type(error).__name__, _REINSTALL, private=str(error)))
    return findings


def _python() -> list[Finding]:
    value = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    return [Finding("Python", "ok", value, private=sys.executable)]


def _torch() -> list[Finding]:
    import torch

    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    return [Finding("torch", "ok", f"{torch.__version__}, {threads}")]


def _libraries() -> list[Finding]:
    """Those that nothing else here looks at, each by the part that is used of it."""
    import numpy
    import safetensors.torch  # noqa: F401
    import scipy.spatial  # noqa: F401
    from PIL import Image, features
    from skimage.measure import blur_effect

    blur_effect(numpy.zeros((16, 16)))
    Image.new("RGB", (2, 2))
    formats = [name for name, part in (("JPEG", "jpg"), ("WebP", "webp")) if features.check(part)]
    names = ("numpy", "scipy", "scikit-image", "safetensors", "Pillow", "flatbuffers")
    value = ", ".join(f"{name} {distribution_version(name)}" for name in names)
    if len(formats) < 2:
        return [Finding("libraries", "missing", f"{value}; Pillow reads only {formats}", "pip install -U Pillow")]
    return [Finding("libraries", "ok", value)]


def _opencv() -> list[Finding]:
    remedy = "pip install --force-reinstall opencv-contrib-python-headless"
    try:
        import cv2
    except ImportError as error:
        return [Finding("OpenCV", "missing", "cannot be loaded", remedy, private=str(error))]
    if not hasattr(getattr(cv2, "ximgproc", None), "guidedFilter"):
        return [Finding("OpenCV", "missing", f"{cv2.__version__} without contributed parts", remedy)]
    # Several distributions put files into one folder and break each other when one of them is removed.
    there = [name for name in OPENCV if distribution_version(name) != "missing"]
    return [Finding("OpenCV", "ok", f"{cv2.__version__}, from {' and '.join(there) or 'elsewhere'}")]


def _package() -> list[Finding]:
    """What `create` imports: all of it, whatever the system lacks."""
    import spatialavatar
    import spatialavatar.create

    return [Finding("package", "ok", f"spatialavatar {spatialavatar.__version__}")]


def _native() -> list[Finding]:
    try:
        from spatialavatar import _native  # type: ignore[attr-defined, unused-ignore]
    except ImportError as error:
        return [
            Finding(
                "rasteriser",
                "missing",
                "the CPU kernel is not built",
                "Install a C++17 compiler (apt install g++, xcode-select --install), then: " + _REINSTALL,
                private=str(error),
            )
        ]
    from spatialavatar.splat.threads import threads

    level = {"v3": "AVX2", "base": "portable code"}.get(_native.instruction_set(), _native.instruction_set())
    return [Finding("rasteriser", "ok", f"CPU kernel, {level}, {threads()} threads")]


def _tracker() -> list[Finding]:
    """Every model runs once."""
    import numpy as np

    from spatialavatar.track.networks import shipped
    from spatialavatar.track.networks.region import whole

    picture = np.zeros((64, 64, 3), np.uint8)
    shipped.short_range_detector().find(picture)
    shipped.full_range_detector().find(picture)
    shipped.attention_mesh().find(picture, whole(64, 64))
    shipped.person_segmentation()(picture)
    return [Finding("tracker", "ok", f"face and matte models of {shipped.SOURCE}")]


def _generator() -> list[Finding]:
    from spatialavatar.generate.checkpoint import load_generator, shipped_generator

    if shipped_generator() is None:
        return [Finding("generator", "note", "none comes with this build; avatars start from the photo's colours")]
    count = sum(weight.numel() for weight in load_generator().parameters())
    return [Finding("generator", "ok", f"{count / 1e6:.1f} million weights")]


def _page() -> list[Finding]:
    from spatialavatar.view.page import page_html

    return [Finding("page", "ok", f"{len(page_html({})) / 1e3:.0f} kB")]


def _websockets() -> list[Finding]:
    found = distribution_version("websockets")
    if found == "missing":
        return [Finding("live driving", "note", "websockets is missing", "pip install 'spatialavatar[web]'")]
    import websockets.asyncio.server  # noqa: F401

    return [Finding("live driving", "ok", f"websockets {found}")]


def _video() -> list[Finding]:
    import av
    from av.codec import Codec

    def usable(name: str, mode: str) -> bool:
        try:
            Codec(name, mode)  # type: ignore[arg-type, unused-ignore]
        except Exception:
            return False
        return True

    readable = [name for name in ("h264", "hevc", "vp9", "av1", "mpeg4", "prores") if usable(name, "r")]
    value = f"PyAV {av.__version__}, reads {', '.join(readable)}"
    if not usable("libx264", "w"):
        return [Finding("video", "missing", f"{value}; cannot write H.264", "pip install --force-reinstall av")]
    return [Finding("video", "ok", f"{value}, writes h264")]


def _open_head() -> list[Finding]:
    from spatialavatar.head.open_head import load_open_head

    head = load_open_head()
    counts = f"{head.num_vertices} vertices, {head.num_identities} identities, {head.num_expressions} expressions"
    return [Finding("open head", "ok", f"{head.edition}: {counts}")]


def _given_head(options: HeadOptions) -> list[Finding]:
    head = options.given_head()
    assert head is not None
    counts = f"{head.num_vertices} vertices, {head.num_identities} identities, {head.num_expressions} expressions"
    return [Finding("head given", "ok", counts, private=f"{head.name}, {head.edition}")]


def _gpu() -> list[Finding]:
    import torch

    if not torch.cuda.is_available():
        return [Finding("GPU", "note", "no CUDA device (none is needed)")]
    name = torch.cuda.get_device_name(0)
    try:
        from importlib.metadata import version

        return [Finding("GPU", "ok", f"{name}, gsplat {version('gsplat')}")]
    except ImportError:
        return [Finding("GPU", "note", f"{name}, not used: gsplat is missing", "pip install 'spatialavatar[cuda]'")]


def _disk() -> list[Finding]:
    findings = []
    for name, folder in (("disk here", Path.cwd()), ("disk for temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 2**30
        value, place = f"{free:.1f} GB free", str(folder)
        if not os.access(folder, os.W_OK):
            findings.append(Finding(name, "missing", "cannot be written to", "cd to another folder", place))
        elif free < _LEAST_DISK_GB:
            remedy = f"Free some space: {_LEAST_DISK_GB:.0f} GB are needed"
            findings.append(Finding(name, "missing", value, remedy, place))
        else:
            findings.append(Finding(name, "ok", value, private=place))
    return findings


def _memory() -> list[Finding]:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return []
    value = f"{total:.1f} GB"
    if total < _LEAST_MEMORY_GB:
        return [Finding("memory", "note", f"{value}; long videos may not fit", "use --fast")]
    return [Finding("memory", "ok", value)]
