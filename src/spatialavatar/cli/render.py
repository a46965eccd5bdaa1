"""`spatialavatar render`: an avatar and something to drive it with in, a video or a picture out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.heads import HeadOptions
from spatialavatar.cli.paths import check_inputs, check_writable
from spatialavatar.cli.report import Stopwatch, report_path, write_report
from spatialavatar.cli.run import Common, say, warn
from spatialavatar.errors import UserError
from spatialavatar.products import check_output, check_outputs

if TYPE_CHECKING:
    from spatialavatar.avatar.avatar import Avatar
    from spatialavatar.drive.recording import Recording
    from spatialavatar.progress import Progress
    from spatialavatar.splat.camera import Camera

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".m4v")
_COLORS = {
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "grey": (0.5, 0.5, 0.5),
    "gray": (0.5, 0.5, 0.5),
    "green": (0.0, 1.0, 0.0),
}


@dataclass(frozen=True, kw_only=True)
class Render(HeadOptions, Common):
    """Render an avatar to a video, or one frame to a picture.

    Without --drive it turns to both sides and then shows a reel of expressions. With --drive it does what somebody
    else does: a video (tracked first; the tracked folder is kept for the next time), a tracked folder, a
    .motion.safetensors file, or a table of ARKit blendshapes as Live Link Face writes it. See docs/driving.md.

    For example:
        spatialavatar render me.avatar
        spatialavatar render me.avatar --drive you.mp4 -o out.mp4
        spatialavatar render me.avatar --drive take.csv --background "#203040" -o out.mp4
        spatialavatar render me.avatar --camera 30,10 --background none -o me.png
    """

    avatar: Positional[Annotated[Path, arg(metavar="NAME.avatar")]]
    """The avatar."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="OUT.mp4|OUT.png", help_behavior_hint="")] = None
    """A video (.mp4, .mov, .mkv) or one frame (.png); by default the avatar's name with .render.mp4."""
    drive: Annotated[str, arg(metavar="WHAT")] = "show"
    """A video, photo, tracked folder, motion file, ARKit table (.csv, .txt, .json, .npz), or turntable, reel, show."""
    size: int = 512
    """Pixels along the longer side."""
    background: Annotated[str, arg(metavar="COLOR")] = "white"
    """white, black, grey, green, #rrggbb; or none for a transparent .png."""
    camera: Annotated[str, arg(metavar="VIEW")] = "front"
    """front; YAW,PITCH or YAW,PITCH,ZOOM in degrees around the head; driver, the driving video's own camera."""
    frames: Annotated[str, arg(metavar="RANGE", help_behavior_hint="")] = ""
    """Only some frames of the motion: COUNT, or START:STOP, or START:STOP:EVERY."""
    relative: bool = False
    """Take the driver's first frame for neutral: only what changes from there moves the avatar."""
    stay: bool = False
    """Keep the head in its place, whatever the driver's does."""
    save_motion: Annotated[Path | None, arg(metavar="NAME.motion.safetensors", help_behavior_hint="")] = None
    """Write the driver's motion here (.motion.safetensors), to drive with it again without tracking."""
    frame_rate: Annotated[float | None, arg(metavar="FPS", help_behavior_hint="")] = None
    """Frames per second of a motion file or table, whatever its time stamps say."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Draw on the CPU, or on an NVIDIA GPU with gsplat."""

    def run(self) -> int | None:
        output = self.output if self.output is not None else Path(self.avatar.stem + ".render.mp4")
        color, view, window = parse_background(self.background), parse_camera(self.camera), parse_frames(self.frames)
        self._check(output, color)
        watch = Stopwatch()

        from spatialavatar.drive.motion_file import write_motion
        from spatialavatar.drive.retarget import exactly, retarget
        from spatialavatar.drive.video import WHITE, render_video, write_picture
        from spatialavatar.progress import Rich

        avatar = self.open_avatar(self.avatar)
        progress = Rich()
        recording, cameras = load_driver(self.drive, avatar, output, self.frame_rate, progress)
        if self.save_motion is not None:
            write_motion(recording, self.save_motion)
            say(f"Motion:   {self.save_motion}")
        start, stop, every = window
        chosen = range(len(recording))[start:stop:every]
        if not chosen:
            raise UserError(f"--frames {self.frames} leaves no frame of the {len(recording)} there are.")
        recording = recording.frames(start, stop, every)
        if view is None:
            if cameras is None:
                raise UserError(
                    "--camera driver needs a driver with cameras: a video or a tracked folder.", where=self.drive
                )
            motion, tracked = exactly(recording, avatar), cameras
            camera_of: Callable[[int], Camera] = lambda index: _sized(tracked(chosen[index]), self.size)  # noqa: E731
        else:
            motion = retarget(recording, avatar, relative=self.relative, travel=not self.stay)
            yaw, pitch, zoom = view
            fixed = avatar.default_camera(self.size, math.radians(yaw), math.radians(pitch), zoom)
            camera_of = lambda index: fixed  # noqa: E731
        avatar = on_device(avatar, self.device)
        numbers: dict[str, object] = {"frames": len(motion), "driver": recording.source}
        if output.suffix.lower() == ".png":
            write_picture(avatar, motion[0], camera_of(0), output, color)
            say(f"Picture:  {output}")
        else:
            rate = render_video(
                avatar,
                motion,
                output,
                recording.frame_rate,
                size=self.size,
                background=color or WHITE,
                camera_of=camera_of,
                progress=progress,
            )
            numbers |= {"render_frames_per_second": rate, "frame_rate": recording.frame_rate}
            say(f"Video:    {output}  ({len(motion)} frames, rendered at {rate:.1f} frames/s)")
        report = write_report(output, "render", self, {**numbers, "seconds": watch.seconds})
        say(f"Numbers:  {report}")
        return None

    def _check(self, output: Path, color: tuple[float, float, float] | None) -> None:
        check_inputs([self.avatar])
        if output.suffix.lower() not in (*VIDEO_SUFFIXES, ".png"):
            raise UserError(
                f"the output's name ends in '{output.suffix}'; expected {', '.join(VIDEO_SUFFIXES)} or .png.",
                where=output,
            )
        if color is None and output.suffix.lower() != ".png":
            raise UserError("videos have no transparency: --background none is for .png.", where=output)
        if not 16 <= self.size <= 4096:
            raise UserError(f"--size is {self.size}; expected 16 to 4096 pixels.")
        if self.frame_rate is not None and not 0 < self.frame_rate <= 1000:
            raise UserError(f"--frame-rate is {self.frame_rate}; expected frames per second.")
        check_writable(output)
        reads = [self.avatar, *self.head_files(), *([Path(self.drive)] if os.path.lexists(self.drive) else [])]
        check_outputs([output, report_path(output)], reads)
        if self.save_motion is not None:
            check_writable(self.save_motion)
            check_output(self.save_motion, reads)


def parse_background(text: str) -> tuple[float, float, float] | None:
    """(r, g, b) in [0, 1], None for transparent.

    Raises:
        UserError: It is no colour.
    """
    text = text.strip().lower()
    if text in ("none", "transparent"):
        return None
    if text in _COLORS:
        return _COLORS[text]
    digits = text.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    if len(digits) == 6 and all(digit in "0123456789abcdef" for digit in digits):
        red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
        return red, green, blue
    raise UserError(f"'{text}' is no colour.", hint=f"Use {', '.join(_COLORS)}, none, or #rrggbb (in quotes).")


def parse_camera(text: str) -> tuple[float, float, float] | None:
    """(yaw, pitch, zoom) in degrees; None for the driver's own camera.

    Raises:
        UserError: It is neither.
    """
    text = text.strip().lower()
    if text == "driver":
        return None
    if text == "front":
        return 0.0, 0.0, 1.0
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(math.isfinite(number) for number in numbers):
        raise UserError(f"--camera is '{text}'; expected front, driver, YAW,PITCH or YAW,PITCH,ZOOM.")
    yaw, pitch, zoom = (*numbers, 1.0)[:3]
    if abs(pitch) > 89 or not 0.1 <= zoom <= 20:
        raise UserError(f"--camera is '{text}'; expected a pitch within 89 degrees and a zoom of 0.1 to 20.")
    return yaw, pitch, zoom


def parse_frames(text: str) -> tuple[int, int | None, int]:
    """(start, stop, every).

    Raises:
        UserError: It is no such range.
    """
    if not text:
        return 0, None, 1
    parts = text.split(":")
    stop: int | None
    try:
        if len(parts) == 1:
            start, stop, every = 0, int(parts[0]), 1
        else:
            start, stop = int(parts[0] or 0), int(parts[1]) if parts[1] else None
            every = int(parts[2]) if len(parts) == 3 and parts[2] else 1
        if len(parts) > 3 or start < 0 or every < 1 or (stop is not None and stop <= start):
            raise ValueError
    except ValueError:
        raise UserError(f"--frames is '{text}'; expected COUNT, START:STOP or START:STOP:EVERY.") from None
    return start, stop, every


def on_device(avatar: Avatar, device: str) -> Avatar:
    """The avatar where it will be drawn.

    Raises:
        UserError: There is no such device.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "there is no NVIDIA GPU that PyTorch can use.", hint="Leave out --device; `spatialavatar doctor` says more."
        )
    return avatar if device == "cpu" else avatar.to(device)


def load_driver(
    drive: str, avatar: Avatar, output: Path, frame_rate: float | None, progress: Progress
) -> tuple[Recording, Callable[[int], Camera] | None]:
    """The recording, and its cameras where it has some. A video or a photo is tracked first, beside the output."""
    from spatialavatar.drive.load import head_of_sequence, load_recording
    from spatialavatar.drive.recording import recording_of_sequence
    from spatialavatar.sequence.folder import is_tracked_folder, read_sequence
    from spatialavatar.sequence.media import is_photo, is_video

    folder = Path(drive)
    if folder.is_file() and (is_video(folder) or is_photo(folder)):
        tracked = output.with_name(f"{folder.stem}.tracked")
        if is_tracked_folder(tracked):
            _check_source(tracked, folder)
            progress.note(f"Using {tracked}, tracked before. Remove it to track {folder.name} again.")
        else:
            from spatialavatar.track import track

            track([folder], output=tracked, head=avatar.head, progress=progress)
            progress.note(f"The driver's tracked frames are kept in {tracked}.")
        folder = tracked
    if is_tracked_folder(folder):
        sequence = read_sequence(folder)
        head = head_of_sequence(sequence, avatar.head)
        return recording_of_sequence(sequence, head, folder.name), sequence.camera
    return load_recording(drive, avatar.head, frame_rate=frame_rate, warn=warn), None


def _sized(camera: Camera, size: int) -> Camera:
    from spatialavatar.avatar.framing import resized

    return resized(camera, size)


def _check_source(tracked: Path, video: Path) -> None:
    """The folder was made from this video, as far as names tell."""
    from spatialavatar.sequence.folder import read_sequence

    files = read_sequence(tracked).source.get("files")
    if files is not None and files != [video.name]:
        raise UserError(
            f"this folder was tracked from {', '.join(map(str, files))}, not from {video.name}.",
            where=tracked,
            hint="Write somewhere else with -o, or track the driver first and give its folder to --drive.",
        )
