"""`spatialavatar demo`: an avatar from a portrait that everyone has, and a video of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from spatialavatar.cli.report import Stopwatch, write_report
from spatialavatar.cli.run import Common, say
from spatialavatar.files import write_atomically
from spatialavatar.products import claim_folder

PORTRAIT = "astronaut"


@dataclass(frozen=True, kw_only=True)
class Demo(Common):
    """Make an avatar from one portrait (the astronaut Eileen Collins, a NASA photograph in the public domain that
    comes with scikit-image), with the fast settings, and render a video in which she turns and makes faces.

    For example:
        spatialavatar demo -o /tmp/demo
    """

    output: Annotated[Path, arg(aliases=["-o"])] = Path("demo-output")
    """The folder to write into; made if it is not there."""
    full: bool = False
    """The full settings instead of the fast ones."""

    def run(self) -> int | None:
        claim_folder(self.output, "demo")
        watch = Stopwatch()

        from spatialavatar.avatar.file import load_avatar
        from spatialavatar.create import CreateOptions, create_avatar
        from spatialavatar.drive.load import built_in
        from spatialavatar.drive.retarget import retarget
        from spatialavatar.drive.video import render_video
        from spatialavatar.progress import Rich

        portrait = self.output / "portrait.png"
        _write_portrait(portrait)
        progress = Rich()
        options = CreateOptions(fast=not self.full, consent="NASA portrait, public domain")
        # A demo always shows the whole way, so what an earlier one left is made again.
        made = create_avatar([portrait], self.output / f"{PORTRAIT}.avatar", options, progress, overwrite=True)
        # Through the file, as everyone else will use it.
        avatar = load_avatar(made.avatar_path)
        recording = built_in("show", avatar.head)
        video = self.output / f"{PORTRAIT}.mp4"
        rate = render_video(
            avatar, retarget(recording, avatar), video, recording.frame_rate, size=512, progress=progress
        )
        numbers = {"seconds": watch.seconds, "render_frames_per_second": rate, "frames": len(recording)}
        write_report(video, "demo", self, {**made.report, **numbers})
        say(f"Portrait: {portrait}")
        say(f"Avatar:   {made.avatar_path}  ({len(avatar):,} Gaussians, {watch.seconds:.0f} s)")
        say(f"Picture:  {made.preview_path}")
        say(f"Video:    {video}  (rendered at {rate:.0f} frames/s)")
        say("Next:     spatialavatar create YOUR_VIDEO.mp4")
        return None


def _write_portrait(path: Path) -> None:
    from PIL import Image
    from skimage import data

    with write_atomically(path) as temporary:
        Image.fromarray(data.astronaut()).save(temporary, format="PNG")
