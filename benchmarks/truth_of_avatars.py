"""A set of real-looking people whose motion is known: avatars drawn as another recording moves them.

python benchmarks/truth_of_avatars.py me.avatar you.avatar --drive it.tracked -o sets/drawn
python benchmarks/tracking_truth.py sets/drawn --photometric

Each avatar does what every recording does, before a plain wall, seen by the avatar's own camera. Pictures are the
avatar's, mattes its coverage, and the truth is its identity, motion and camera. What was tracked to make the avatar
plays no part but through the avatar: where on its mesh its eyes and mouth are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import load_avatar
from spatialavatar.drive.load import load_recording
from spatialavatar.drive.retarget import retarget
from spatialavatar.files import write_json
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.sets import ONLY_CAMERA, SET_FILE, SET_FORMAT, SET_VERSION
from spatialavatar.splat.camera import Camera

WALL = (0.55, 0.58, 0.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatars", type=Path, nargs="+")
    parser.add_argument("--drive", nargs="+", required=True, help="tracked folders, motion files or built-in motions")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="frame of the recordings to begin with")
    parser.add_argument("--frames", type=int, default=75)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = []
    for path in arguments.avatars:
        avatar = load_avatar(path)
        for drive in arguments.drive:
            recording = load_recording(drive, avatar.head)
            motion = retarget(recording, avatar)[arguments.first : arguments.first + arguments.frames]
            names.append(f"{path.stem}_as_{Path(drive).stem}")
            camera = avatar.default_camera(arguments.size)
            truth = known(avatar, motion, camera, recording.frame_rate)
            drawn = [coloured_and_covered(avatar, motion[k], camera) for k in range(len(motion))]
            (arguments.output / names[-1]).mkdir(parents=True, exist_ok=True)
            write_sequence(truth, arguments.output / names[-1] / ONLY_CAMERA, *zip(*drawn, strict=True))
            print(arguments.output / names[-1], flush=True)
    write_json(
        arguments.output / SET_FILE,
        {"format": SET_FORMAT, "format_version": SET_VERSION, "cameras": [ONLY_CAMERA], "subjects": names},
    )


def known(avatar: Avatar, motion: Motion, camera: Camera, frame_rate: float) -> TrackedSequence:
    """What there is to find."""
    count = len(motion)
    return TrackedSequence(
        head_edition=avatar.head.edition,
        identity=avatar.identity,
        motion=motion,
        camera_from_world=camera.camera_from_world.float().expand(count, 4, 4).clone(),
        intrinsics=camera.intrinsics.float().expand(count, 3, 3).clone(),
        width=camera.width,
        height=camera.height,
        frame_rate=frame_rate,
        names=tuple(f"{k:05d}" for k in range(count)),
        expression_names=avatar.head.expression_names,
    )


@torch.no_grad()
def coloured_and_covered(avatar: Avatar, motion: Motion, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) and (H, W) bytes of one frame: the person before a wall, and where the person is."""
    picture = avatar.render(motion, camera, torch.tensor(WALL))
    pixels = (picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()
    return pixels[..., :3], pixels[..., 3]


if __name__ == "__main__":
    main()
