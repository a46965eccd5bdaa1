"""Animatable 3D heads from a few photos or a short video.

import spatialavatar as sa

made = sa.create_avatar(["me.mp4"], "me.avatar")
avatar = sa.load_avatar("me.avatar")
motion = sa.retarget(sa.load_recording("reel", avatar.head), avatar)
image = avatar.render(motion[30], avatar.default_camera(512))  # (H, W, 4)
"""

import os
from typing import TYPE_CHECKING, Any

# Torch's OpenMP threads spin for a while after each operation and so take the processor away from the rasteriser's own
# threads (measured: 33 against 27 ms for a refinement step on two cores). OpenMP reads these when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

__version__ = "0.1.0"

# What the package offers at its top, and where it lives. Imported on first use: torch takes seconds to import, and
# `spatialavatar --help` must not wait for it. Names of rooms (`track`, `refine`) are left to the rooms.
_OFFERED = {
    "Avatar": "avatar.avatar",
    "Camera": "splat.camera",
    "CreateOptions": "create",
    "Head": "head",
    "Motion": "head",
    "Recording": "drive.recording",
    "RefineConfig": "refine.config",
    "StreamingTracker": "track.streaming",
    "TrackedSequence": "sequence.sequence",
    "UserError": "errors",
    "create_avatar": "create",
    "generate_avatar": "generate.feed_forward",
    "load_avatar": "avatar.file",
    "load_generator": "generate.checkpoint",
    "load_head": "head",
    "load_open_head": "head",
    "load_recording": "drive.load",
    "read_motion": "drive.motion_file",
    "read_sequence": "sequence.folder",
    "refine_avatar": "refine.loop:refine",
    "render_video": "drive.video",
    "retarget": "drive.retarget",
    "save_avatar": "avatar.file",
    "track_frames": "track.tracker:track",
    "write_mesh_glb": "export.mesh",
    "write_motion": "drive.motion_file",
    "write_ply": "export.ply",
    "write_rig": "export.rig",
    "write_splat_glb": "export.splat_gltf",
    "write_spz": "export.spz",
}
__all__ = sorted(_OFFERED)

if TYPE_CHECKING:
    from spatialavatar.avatar.avatar import Avatar as Avatar
    from spatialavatar.avatar.file import load_avatar as load_avatar
    from spatialavatar.avatar.file import save_avatar as save_avatar
    from spatialavatar.create import CreateOptions as CreateOptions
    from spatialavatar.create import create_avatar as create_avatar
    from spatialavatar.drive.load import load_recording as load_recording
    from spatialavatar.drive.motion_file import read_motion as read_motion
    from spatialavatar.drive.motion_file import write_motion as write_motion
    from spatialavatar.drive.recording import Recording as Recording
    from spatialavatar.drive.retarget import retarget as retarget
    from spatialavatar.drive.video import render_video as render_video
    from spatialavatar.errors import UserError as UserError
    from spatialavatar.export.mesh import write_mesh_glb as write_mesh_glb
    from spatialavatar.export.ply import write_ply as write_ply
    from spatialavatar.export.rig import write_rig as write_rig
    from spatialavatar.export.splat_gltf import write_splat_glb as write_splat_glb
    from spatialavatar.export.spz import write_spz as write_spz
    from spatialavatar.generate.checkpoint import load_generator as load_generator
    from spatialavatar.generate.feed_forward import generate_avatar as generate_avatar
    from spatialavatar.head import Head as Head
    from spatialavatar.head import Motion as Motion
    from spatialavatar.head import load_head as load_head
    from spatialavatar.head import load_open_head as load_open_head
    from spatialavatar.refine.config import RefineConfig as RefineConfig
    from spatialavatar.refine.loop import refine as refine_avatar  # noqa: F401
    from spatialavatar.sequence.folder import read_sequence as read_sequence
    from spatialavatar.sequence.sequence import TrackedSequence as TrackedSequence
    from spatialavatar.splat.camera import Camera as Camera
    from spatialavatar.track.streaming import StreamingTracker as StreamingTracker
    from spatialavatar.track.tracker import track as track_frames  # noqa: F401


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        raise AttributeError(f"module 'spatialavatar' has no attribute {name!r}")
    import importlib

    module, _, attribute = _OFFERED[name].partition(":")
    return getattr(importlib.import_module(f"spatialavatar.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_OFFERED})
