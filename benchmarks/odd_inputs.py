"""What comes of ordinary files that other programs write oddly: a table of outcomes.

    python benchmarks/odd_inputs.py FOLDER [--only NAME ...] [--json FILE]

FOLDER holds the inputs by the names below; those that are missing are left out and counted. Each is run through the
command line in a scratch folder, as a user would, and its outcome is compared to what it must be. The tests make the
same kinds of input themselves (tests/sequence, tests/drive, tests/track) and need no folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.sequence.readers.truth import flame_file

BASE = "plain.mp4"
"""A video without any oddity: what others are compared to, and what the avatar that is driven is made of."""

ALIKE = 4.0
"""Levels of 255: mean difference between the frames of two recodings of one video. One more compression costs 1 to 2;
a mirrored or stretched picture differs by more than 15."""


@dataclass(frozen=True)
class Ran:
    """One command and what it left."""

    folder: Path
    code: int
    text: str
    seconds: float

    def said(self, *words: str) -> bool:
        """Whether any of the words was printed or stands among the report's warnings."""
        return any(word.lower() in self.text.lower() for word in words)

    def tracked(self, name: str = "o.tracked") -> dict[str, Any]:
        return json.loads((self.folder / name / "sequence.json").read_text())

    def warnings(self, name: str = "o.tracked") -> list[str]:
        return list(json.loads((self.folder / name / "report.json").read_text()).get("warnings", []))

    def frame(self, index: int, name: str = "o.tracked") -> np.ndarray:
        names = self.tracked(name)["names"]
        return np.asarray(Image.open(self.folder / name / "images" / f"{names[index]}.png").convert("RGB"), np.float32)

    def seconds_driven(self) -> float:
        report = json.loads((self.folder / "o.mp4.report.json").read_text())
        return report["frames"] / report["frame_rate"]


@dataclass(frozen=True)
class Row:
    """An input, the command for it, what it must give in words, and a function that says whether and what it gave."""

    name: str
    command: tuple[str, ...]
    right: str
    judge: Callable[[Ran, Ran], tuple[bool, str]]
    called: str = ""
    """Another name for the file in the scratch folder."""


def track(name: str) -> tuple[str, ...]:
    return ("track", name, "--fast", "-o", "o.tracked")


def drive(name: str) -> tuple[str, ...]:
    return ("render", "base.avatar", "--drive", name, "--size", "96", "-o", "o.mp4")


def frames_and_rate(least: int, most: int, words: tuple[str, ...] = ()) -> Callable[[Ran, Ran], tuple[bool, str]]:
    def judge(ran: Ran, plain: Ran) -> tuple[bool, str]:
        found = ran.tracked()
        count, rate = len(found["names"]), found["frame_rate"]
        told = not words or ran.said(*words)
        return least <= count <= most and 29 < rate < 31 and told, (
            f"{count} frames at {rate:.2f}/s" + ("" if not words else ", said" if told else ", not said")
        )

    return judge


def pause(ran: Ran, plain: Ran) -> tuple[bool, str]:
    # The face of this one is too small to be tracked, so only its reading is looked at.
    found = json.loads(ran.text)
    told = any("leap" in note or "pause" in note for note in found["notes"])
    good = 88 <= found["frames"] <= 125 and 29 < found["rate"] < 31 and told
    return good, f"{found['frames']} frames at {found['rate']:.2f}/s; {'; '.join(found['notes'])[:90]}"


def like_plain(ran: Ran, plain: Ran) -> tuple[bool, str]:
    last = min(len(ran.tracked()["names"]), len(plain.tracked()["names"])) - 1
    differences = [np.abs(ran.frame(i) - plain.frame(i)).mean() for i in (0, last // 2, last)]
    worst = max(differences)
    return bool(worst < ALIKE), f"frames differ from {BASE} by {worst:.1f} of 255"


def hdr(ran: Ran, plain: Ran) -> tuple[bool, str]:
    mean = float(ran.frame(0).mean())
    return ran.said("HDR", "HLG", "tone"), f"mean level {mean:.0f}; " + "; ".join(ran.warnings())[:80]


def reads(ran: Ran, plain: Ran) -> tuple[bool, str]:
    return len(ran.tracked()["names"]) >= 1, f"{len(ran.tracked()['names'])} frames"


def lasts(seconds: float, within: float = 0.05) -> Callable[[Ran, Ran], tuple[bool, str]]:
    def judge(ran: Ran, plain: Ran) -> tuple[bool, str]:
        found = ran.seconds_driven()
        return abs(found - seconds) <= within, f"{found:.2f} s"

    return judge


def said_or_refused(*words: str) -> Callable[[Ran, Ran], tuple[bool, str]]:
    def judge(ran: Ran, plain: Ran) -> tuple[bool, str]:
        return ran.code in (0, 2) and ran.said(*words), _last_lines(ran.text)

    return judge


def header(ran: Ran, plain: Ran) -> tuple[bool, str]:
    first = (ran.folder / "o.csv").read_text().split("\n", 1)[0].strip()
    right = "BlendShapeCount,EyeBlinkLeft" in first and "JawRight,JawLeft" in first and "MouthRight,MouthLeft" in first
    return right, first[:60]


def mean_level(least: float, most: float) -> Callable[[Ran, Ran], tuple[bool, str]]:
    def judge(ran: Ran, plain: Ran) -> tuple[bool, str]:
        level = float(ran.frame(0).mean())
        return least <= level <= most and not ran.said("RuntimeWarning"), f"mean level {level:.0f}"

    return judge


def imported(ran: Ran, plain: Ran) -> tuple[bool, str]:
    count = len(ran.tracked()["names"])
    return count == 3, f"{count} frames"


def own_mattes(ran: Ran, plain: Ran) -> tuple[bool, str]:
    matte = np.asarray(Image.open(next((ran.folder / "o.tracked" / "mattes").iterdir())), np.float32) / 255
    return ran.said(
        "segment", "matte"
    ) and matte.mean() < 0.9, f"mattes cover {matte.mean():.2f}; {_last_lines(ran.text)}"


def named_right(ran: Ran, plain: Ran) -> tuple[bool, str]:
    line = next((line for line in ran.text.splitlines() if line.startswith("Next:")), "")
    return "'Interview [dQw4w9WgXcQ].avatar'" in line, line


def too_long(ran: Ran, plain: Ran) -> tuple[bool, str]:
    return ran.code == 2 and ran.said("too long") and ran.seconds < 5, _last_lines(ran.text)


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and "━" not in line]
    return " / ".join(lines[-3:])[-160:]


ROWS = (
    Row("mirror_matrix.mp4", track("mirror_matrix.mp4"), "the frames of plain.mp4", like_plain),
    Row("sar_4_3.mp4", track("sar_4_3.mp4"), "the frames of plain.mp4", like_plain),
    Row("mediarecorder.webm", track("mediarecorder.webm"), "about 90 frames at 30/s", frames_and_rate(88, 92)),
    Row("vfr_pause.mp4", ("read", "vfr_pause.mp4"), "the moving parts at 30/s", pause),
    Row("pts_jump.mkv", track("pts_jump.mkv"), "90 frames, said", frames_and_rate(89, 91, ("jump", "time stamp"))),
    Row(
        "damaged_packet_vp9.webm",
        track("damaged_packet_vp9.webm"),
        "59 frames, said",
        frames_and_rate(59, 60, ("decoded",)),
    ),
    Row(
        "damaged_packet_h264.mp4",
        track("damaged_packet_h264.mp4"),
        "51 frames, said",
        frames_and_rate(51, 60, ("decoded",)),
    ),
    Row("iphone_hlg.mov", track("iphone_hlg.mov"), "tone-mapped, or said", hdr),
    Row("plain.mp4", track("clip:1.mp4"), "reads", reads, called="clip:1.mp4"),
    Row("llf_30fps_in_60_clock.csv", drive("llf_30fps_in_60_clock.csv"), "3.03 s", lasts(3.03)),
    Row("llf_dropped_rows.csv", drive("llf_dropped_rows.csv"), "3.0 s", lasts(3.0)),
    Row("percent.csv", drive("percent.csv"), "percent, said, or refused", said_or_refused("percent")),
    Row("degrees.csv", drive("degrees.csv"), "degrees, said, or refused", said_or_refused("degrees")),
    Row(
        "audio2face.csv",
        drive("audio2face.csv"),
        "reads",
        lambda ran, plain: (ran.code == 0, f"{ran.seconds_driven():.2f} s"),
    ),
    Row(
        "jaw_to_the_left.npz",
        ("export", "base.avatar", "--to", "motion", "--drive", "jaw_to_the_left.npz", "-o", "o.csv"),
        "the app's header",
        header,
    ),
    Row(
        "vhap_backslash.zip", ("import", "vhap", "SET", "--head", "flame.npz", "-o", "o.tracked"), "3 frames", imported
    ),
    Row(
        "vhap_nomask.zip",
        ("import", "vhap", "SET", "--head", "flame.npz", "-o", "o.tracked"),
        "mattes, said",
        own_mattes,
    ),
    Row("exif_samsung_minus2_over_0.jpg", track("exif_samsung_minus2_over_0.jpg"), "reads", reads),
    Row(
        "upside_down.jpg",
        ("create", "upside_down.jpg", "--fast", "--iterations", "20", "-o", "o.avatar"),
        "turned, said, or refused",
        said_or_refused("upside", "turned"),
    ),
    Row("grey12_in_16.tif", track("grey12_in_16.tif"), "as bright as it is", mean_level(80, 180)),
    Row("float_one_nan.tif", track("float_one_nan.tif"), "the other pixels", mean_level(80, 180)),
    Row(
        "photo.jfif",
        ("create", "photo.jfif", "--fast", "--iterations", "20", "-o", "o.avatar"),
        "reads",
        lambda r, p: (r.code == 0, _last_lines(r.text)),
    ),
    Row(
        "animated.webp",
        track("animated.webp"),
        "12 frames, or said",
        lambda r, p: (len(r.tracked()["names"]) == 12, f"{len(r.tracked()['names'])} frames"),
    ),
    Row(
        "Interview [dQw4w9WgXcQ].jpg",
        ("create", "Interview [dQw4w9WgXcQ].jpg", "--fast", "--iterations", "20"),
        "the real name, quoted",
        named_right,
    ),
    Row("photo.jfif", ("create", "x" * 236 + ".jpg"), "too long, at once", too_long, called="x" * 236 + ".jpg"),
)


def run(row: Row, inputs: Path, base: Path) -> Ran:
    """Run a row's command in a scratch folder of its own, which the caller removes."""
    folder = Path(tempfile.mkdtemp(prefix="odd-input-"))
    source = inputs / row.name
    if source.suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            archive.extractall(folder / "SET")
        inner = [entry for entry in (folder / "SET").iterdir() if not entry.name.startswith(".")]
        if len(inner) == 1 and inner[0].is_dir():
            inner[0].rename(folder / "SET.inner")
            shutil.rmtree(folder / "SET")
            (folder / "SET.inner").rename(folder / "SET")
        flame_file(folder / "flame.npz")
    else:
        shutil.copyfile(source, folder / (row.called or row.name))
    if "base.avatar" in row.command:
        shutil.copyfile(base, folder / "base.avatar")
    return command(folder, row.command)


_READ = """
import json, sys
from spatialavatar.sequence.video import probe_video, read_video
notes = []
frames = sum(1 for _ in read_video(sys.argv[1], warn=notes.append))
print(json.dumps({"frames": frames, "rate": probe_video(sys.argv[1]).frame_rate, "notes": notes}))
"""


def command(folder: Path, arguments: tuple[str, ...]) -> Ran:
    began = time.perf_counter()
    code = "import sys; from spatialavatar.cli import main; sys.exit(main())"
    if arguments[0] == "read":
        code, arguments = _READ, arguments[1:]
    call = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=900, env=None)
    return Ran(folder, done.returncode, done.stdout + done.stderr, time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the inputs lie")
    parser.add_argument("--only", nargs="*", default=[], help="only inputs whose name contains one of these")
    parser.add_argument("--json", type=Path, help="write the outcomes here, too")
    given = parser.parse_args()
    rows = [row for row in ROWS if not given.only or any(part in (row.called or row.name) for part in given.only)]
    present = [row for row in rows if (given.folder / row.name).exists()]
    work = Path(tempfile.mkdtemp(prefix="odd-inputs-"))
    shutil.copyfile(given.folder / BASE, work / BASE)
    plain = command(work, ("track", BASE, "--fast", "-o", "o.tracked"))
    if any("base.avatar" in row.command for row in present):
        command(work, ("create", "o.tracked", "--fast", "--iterations", "50", "-o", "base.avatar"))
    outcomes, wrong = [], 0
    for row in present:
        ran = run(row, given.folder, work / "base.avatar")
        try:
            ok, found = row.judge(ran, plain) if "Traceback" not in ran.text else (False, _last_lines(ran.text))
        except (OSError, KeyError, IndexError, ValueError) as error:
            ok, found = False, f"exit {ran.code}: {_last_lines(ran.text)} ({type(error).__name__})"
        wrong += not ok
        name = (row.called or row.name)[:34]
        outcomes.append(
            {"input": name, "right": row.right, "ok": bool(ok), "found": found, "seconds": round(ran.seconds, 1)}
        )
        print(f"{'ok   ' if ok else 'WRONG'} {name:<34} {row.right:<28} {found}", flush=True)
        shutil.rmtree(ran.folder, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
    print(
        f"{len(present) - wrong} of {len(present)} right; {len(rows) - len(present)} inputs are not in {given.folder}"
    )
    if given.json is not None:
        given.json.write_text(json.dumps(outcomes, indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
