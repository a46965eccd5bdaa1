"""`spatialavatar doctor`: is everything there, and what to run where it is not."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spatialavatar.cli.heads import HeadOptions
from spatialavatar.cli.run import BUG, OK, Common, say
from spatialavatar.errors import UserError

_REINSTALL = "pip install --force-reinstall spatialavatar"
_LEAST_DISK_GB = 2.0
_LEAST_MEMORY_GB = 3.0


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    state: "ok", "missing" (a problem), or "note" (optional, or for information).
    remedy: The next command to run, where something is missing.
    """

    name: str
    state: str
    value: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Doctor(HeadOptions, Common):
    """Check Python, torch, the rasteriser, the tracker's models, video codecs, heads, the GPU and disk space. Every
    problem comes with the next command to run. The exit code is 0 when avatars can be made, else 1.

    For example:
        spatialavatar doctor --head FLAME2023.pkl
    """

    def run(self) -> int:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        findings = examine(self)
        signs = {"ok": ("ok", "green"), "missing": ("problem", "bold red"), "note": ("-", "dim")}
        table = Table("", "", "", show_header=False, box=None)
        for finding in findings:
            sign, style = signs[finding.state]
            table.add_row(Text(sign, style=style), Text(finding.name, style="bold"), Text(finding.value))
            if finding.remedy:
                table.add_row("", "", Text(finding.remedy, style="yellow" if finding.state == "missing" else "dim"))
        Console().print(table)
        problems = sum(finding.state == "missing" for finding in findings)
        if problems:
            say(f"\n{problems} problem{'s' if problems > 1 else ''}: run what stands beneath each, then this again.")
            return BUG
        say("\nEverything is there. Next: spatialavatar demo")
        return OK


def examine(heads: HeadOptions | None = None) -> list[Finding]:
    """All findings; no check can end the others."""
    checks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("Python", _python),
        ("torch", _torch),
        ("rasteriser", _native),
        ("tracker", _mediapipe),
        ("video", _video),
        ("open head", _open_head),
        ("GPU", _gpu),
        ("disk", _disk),
        ("memory", _memory),
    ]
    if heads is not None and (heads.head is not None or heads.head_uv is not None):
        checks.insert(6, ("head given", lambda: _given_head(heads)))
    findings = []
    for name, check in checks:
        try:
            findings += check()
        except UserError as error:
            findings.append(Finding(name, "missing", error.what, error.hint or ""))
        except Exception as error:  # a broken installation fails in its own ways; the others are still worth a look
            findings.append(Finding(name, "missing", f"{type(error).__name__}: {error}", _REINSTALL))
    return findings


def _python() -> list[Finding]:
    value = f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}"
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return [Finding("Python", "ok", value)]
    return [Finding("Python", "missing", value, "Use Python 3.10, 3.11 or 3.12: make demo PYTHON=python3.12")]


def _torch() -> list[Finding]:
    import torch

    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    return [Finding("torch", "ok", f"{torch.__version__}, {threads}")]


def _native() -> list[Finding]:
    try:
        from spatialavatar import _native  # type: ignore[attr-defined, unused-ignore]
    except ImportError as error:
        return [
            Finding(
                "rasteriser",
                "missing",
                f"the CPU kernel is not built ({error})",
                "Install a C++17 compiler (apt install g++, xcode-select --install), then: " + _REINSTALL,
            )
        ]
    from spatialavatar.splat.threads import threads

    level = {"v3": "AVX2", "base": "portable code"}.get(_native.instruction_set(), _native.instruction_set())
    return [Finding("rasteriser", "ok", f"CPU kernel, {level}, {threads()} threads")]


def _mediapipe() -> list[Finding]:
    with _quiet():
        import mediapipe
        import numpy as np

        picture = np.zeros((64, 64, 3), np.uint8)
        solutions = mediapipe.solutions
        with solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as landmarks:
            landmarks.process(picture)
        with solutions.selfie_segmentation.SelfieSegmentation(model_selection=0) as segmentation:
            segmentation.process(picture)
    return [Finding("tracker", "ok", f"mediapipe {mediapipe.__version__}, face and matte models load")]


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
    return [Finding("head given", "ok", f"{head.name} ({head.edition}): {counts}")]


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
        value = f"{free:.1f} GB free in {folder}"
        if not os.access(folder, os.W_OK):
            findings.append(Finding(name, "missing", f"{folder} cannot be written to", "cd to another folder"))
        elif free < _LEAST_DISK_GB:
            findings.append(Finding(name, "missing", value, f"Free some space: {_LEAST_DISK_GB:.0f} GB are needed"))
        else:
            findings.append(Finding(name, "ok", value))
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what libraries print from C++ on stderr, which only worries people."""
    sys.stderr.flush()
    saved, hole = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(hole, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(hole)
