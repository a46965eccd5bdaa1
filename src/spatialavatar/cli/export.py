"""`spatialavatar export`: an avatar, or a motion, in another program's format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.heads import HeadOptions
from spatialavatar.cli.paths import check_inputs, check_writable
from spatialavatar.cli.report import Stopwatch, report_path, write_report
from spatialavatar.cli.run import Common, say, warn
from spatialavatar.errors import UserError
from spatialavatar.products import check_outputs, check_replaceable_folder

if TYPE_CHECKING:
    from spatialavatar.avatar.avatar import Avatar
    from spatialavatar.drive.recording import Recording

Kind = Literal["ply", "spz", "gltf", "glb-mesh", "rig", "html", "motion"]


@dataclass(frozen=True)
class Format:
    """suffix: Of the file's name.
    what: What it is, for messages.
    opens: What opens it.
    holds_model: Whether it carries the head model's own data.
    """

    suffix: str
    what: str
    opens: str
    holds_model: bool = False


FORMATS: dict[str, Format] = {
    "ply": Format(".ply", "Gaussians of one pose", "SuperSplat, Spark, three.js, Blender add-ons"),
    "spz": Format(".spz", "Gaussians of one pose, compressed", "SuperSplat, Spark, Babylon.js, Scaniverse"),
    "gltf": Format(
        ".splats.glb",
        "Gaussians of one pose in glTF",
        "three.js, Babylon.js, Cesium: what knows KHR_gaussian_splatting",
    ),
    "glb-mesh": Format(".mesh.glb", "a rigged, textured mesh", "Blender, Unity, Unreal, Godot, three.js", True),
    "rig": Format(".rig", "a rigged bundle", "your engine: its README.md says how", True),
    "html": Format(".html", "an offline page", "any browser, with the network cut", True),
    "motion": Format(
        ".motion.safetensors",
        "a motion",
        "spatialavatar render --drive, and what reads its ending: Live Link Face, FLAME trackers",
    ),
}
_MOTION_SUFFIXES = (".motion.safetensors", ".csv", ".flame.npz", ".npz")


@dataclass(frozen=True, kw_only=True)
class Export(HeadOptions, Common):
    """Take an avatar, or a motion, to another program. docs/exports.md says what each format carries.

    ply, spz and gltf are one frozen pose: the resting one, or a frame of --drive. glb-mesh is the bare head with all
    its expressions and joints and a baked texture. rig is a folder for engines: that mesh and the Gaussians bound to
    its triangles. html is the viewer in one offline file. motion writes what --drive holds: as .motion.safetensors,
    ARKit .csv (Live Link Face), ARKit .npz, or FLAME's parameters (.flame.npz), by the name given with -o.

    For example:
        spatialavatar export me.avatar --to ply
        spatialavatar export me.avatar --to spz --drive you.mp4 --frame 40 -o smile.spz
        spatialavatar export me.avatar --to rig
        spatialavatar export me.avatar --to html
        spatialavatar export me.avatar --to motion --drive take.csv -o take.flame.npz
    """

    avatar: Positional[Annotated[Path, arg(metavar="NAME.avatar")]]
    """The avatar."""
    to: Kind
    """The format."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="NAME", help_behavior_hint="")] = None
    """Where to write; by default the avatar's name with the format's ending."""
    drive: Annotated[str | None, arg(metavar="WHAT", help_behavior_hint="")] = None
    """The pose, or the motion: anything that `spatialavatar render --drive` takes."""
    frame: Annotated[int, arg(metavar="N")] = 0
    """Which frame of --drive to take for the pose."""
    frame_rate: Annotated[float | None, arg(metavar="FPS", help_behavior_hint="")] = None
    """Frames per second of the file given with --drive, whatever its time stamps say."""
    y_up: bool = False
    """Leave y up in a .ply. Most viewers expect it down, as 3D Gaussian splatting's own files have it."""
    in_place: bool = False
    """Leave the head where its camera saw it, instead of at the origin."""
    texture_size: Annotated[int, arg(metavar="PIXELS")] = 1024
    """Side of the baked texture (glb-mesh, rig)."""
    overwrite: bool = False
    """Replace an existing bundle (rig). Files of an earlier export are always replaced, and no others."""
    i_have_the_licence: bool = False
    """Export a head model's own data (FLAME), as your licence of it allows."""

    def run(self) -> int | None:
        form = FORMATS[self.to]
        output = self._output(form)
        watch = Stopwatch()

        from spatialavatar.export.licence import check_licence, licence_note

        avatar = self.open_avatar(self.avatar)
        if form.holds_model:
            check_licence(avatar, self.i_have_the_licence, form.what)
        numbers = self._write(avatar, output)
        size = sum(file.stat().st_size for file in ([output] if output.is_file() else output.iterdir()))
        say(f"Written:  {output}  ({size / 1e6:.1f} MB, {form.what})")
        say(f"Opens in: {form.opens}")
        note = licence_note(avatar) if form.holds_model else None
        if note is not None:
            say(f"Licence:  {note}")
        report = write_report(
            output, "export", self, {**numbers, "to": self.to, "bytes": size, "seconds": watch.seconds}
        )
        say(f"Numbers:  {report}")
        return None

    def _write(self, avatar: Avatar, output: Path) -> dict[str, object]:
        if self.to == "motion":
            from spatialavatar.export.motion import write_recording

            recording = self._recording(avatar, output)
            for note in write_recording(recording, output):
                warn(f"{output}: {note}")
            return {"frames": len(recording), "frame_rate": recording.frame_rate}
        if self.to == "html":
            from spatialavatar.view.offline import write_offline_page

            write_offline_page(avatar, output, names=[self.avatar.stem])
        elif self.to == "glb-mesh":
            from spatialavatar.export.mesh import write_mesh_glb

            write_mesh_glb(avatar, output, self.texture_size)
        elif self.to == "rig":
            from spatialavatar.export.rig import write_rig

            write_rig(avatar, output, self.texture_size, overwrite=self.overwrite)
        else:
            self._write_pose(avatar, output)
        return {"gaussians": len(avatar)}

    def _write_pose(self, avatar: Avatar, output: Path) -> None:
        from spatialavatar.export.place import posed, y_down

        motion = None
        if self.drive is not None:
            from spatialavatar.drive.retarget import retarget

            recording = self._recording(avatar, output)
            if not -len(recording) <= self.frame < len(recording):
                raise UserError(f"--frame is {self.frame}; {self.drive} has {len(recording)} frames, from 0.")
            motion = retarget(recording, avatar)[self.frame]
        gaussians = posed(avatar, motion, centered=not self.in_place)
        if self.to == "ply":
            from spatialavatar.export.ply import write_ply

            write_ply(gaussians if self.y_up else y_down(gaussians), output)
        elif self.to == "spz":
            from spatialavatar.export.spz import write_spz

            write_spz(gaussians, output)
        else:
            from spatialavatar.export.splat_gltf import write_splat_glb

            write_splat_glb(gaussians, output, self.avatar.stem)

    def _recording(self, avatar: Avatar, output: Path) -> Recording:
        from spatialavatar.cli.render import load_driver
        from spatialavatar.progress import Rich

        recording, _ = load_driver(self.drive or "show", avatar, output, self.frame_rate, Rich())
        return recording

    def _output(self, form: Format) -> Path:
        """Where to write, checked before anything heavy is loaded."""
        check_inputs([self.avatar])
        if self.to == "motion" and self.drive is None:
            raise UserError("--to motion writes what --drive holds.", hint="Add --drive take.csv, or --drive show.")
        if self.frame != 0 and (self.drive is None or self.to not in ("ply", "spz", "gltf")):
            raise UserError("--frame picks a frame of --drive for ply, spz and gltf.")
        if self.frame_rate is not None and not 0 < self.frame_rate <= 1000:
            raise UserError(f"--frame-rate is {self.frame_rate}; expected frames per second.")
        if not 16 <= self.texture_size <= 8192:
            raise UserError(f"--texture-size is {self.texture_size}; expected 16 to 8192 pixels.")
        output = self.output if self.output is not None else Path(self.avatar.stem + form.suffix)
        endings = _MOTION_SUFFIXES if self.to == "motion" else ("." + form.suffix.rpartition(".")[2],)
        reads = [self.avatar, *self.head_files()]
        if self.drive is not None and os.path.lexists(self.drive):
            reads.append(Path(self.drive))
        if self.to == "rig":
            if output.exists() and not (self.overwrite and _is_bundle(output)):
                what = "this is in the way" if not _is_bundle(output) else "this bundle exists already"
                raise UserError(f"{what}.", where=output, hint="Choose another name with -o, or add --overwrite.")
            check_replaceable_folder(output, reads)
            check_writable(output.with_name(f".{output.name}"))
            return output
        if not output.name.endswith(endings):
            raise UserError(f"the name of this export must end in {' or '.join(endings)}.", where=output)
        check_writable(output)
        check_outputs([output, report_path(output)], reads)
        return output


def _is_bundle(path: Path) -> bool:
    return (path / "rig.json").is_file()
