"""How fast frames are tracked one by one, and how far that is from tracking them all together.

python benchmarks/streaming.py me.mp4 --frames 150              # speed
python benchmarks/streaming.py me.mp4 --tracked me.tracked      # and agreement with the batch tracker
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
import torch

from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle
from spatialavatar.sequence.folder import read_sequence
from spatialavatar.sequence.video import probe_video, read_video
from spatialavatar.track.streaming import StreamedFrame, StreamingTracker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--tracked", help="the video's tracked folder: who it is, and what to agree with")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rate = probe_video(arguments.video).frame_rate
    images = [frame.image for frame in read_video(arguments.video, max_frames=arguments.frames)]
    sequence = None if arguments.tracked is None else read_sequence(arguments.tracked)
    wall, busy = np.zeros(len(images)), np.zeros(len(images))
    frames: list[StreamedFrame | None] = []
    tracker = (
        StreamingTracker(frame_rate=rate, wait_for_person=True)
        if sequence is None
        else StreamingTracker.of(sequence, frame_rate=rate)
    )
    with tracker:
        for k, image in enumerate(images):
            began, cpu = time.perf_counter(), time.process_time()
            frames.append(tracker.step(image))
            wall[k], busy[k] = time.perf_counter() - began, time.process_time() - cpu
    errors = [frame.landmark_error for frame in frames if frame is not None and frame.identity_known]
    result = {
        "frames": len(images),
        "with a face": sum(frame is not None for frame in frames),
        "milliseconds a frame, median": round(1000 * float(np.median(wall)), 1),
        "milliseconds a frame, 95 %": round(1000 * float(np.percentile(wall, 95)), 1),
        "processor milliseconds a frame, all threads": round(1000 * float(np.median(busy)), 1),
        "longest frame, milliseconds": round(1000 * float(wall.max()), 1),
        "landmark error, median": round(float(np.median(errors)), 4) if errors else None,
    }
    if sequence is not None:
        result |= agreement(frames, sequence.motion, sequence.is_valid.numpy(), rate)
    json.dump(result, sys.stdout, indent=2)
    print()


def agreement(
    frames: list[StreamedFrame | None], batch: Motion, valid: np.ndarray, rate: float
) -> dict[str, float | None]:
    """Rotations in degrees, weights, and how many milliseconds the streamed yaw and mouth come later."""
    both = [k for k in range(min(len(frames), len(batch))) if frames[k] is not None and valid[k]]
    streamed = Motion.cat([frame.motion for k in both if (frame := frames[k]) is not None])
    other = batch[torch.tensor(both)]
    found, true = head_rotations(streamed), head_rotations(other)
    between = found @ true.mT
    apart = axis_angle_from_rotation_matrix(between)
    moving = (apart - apart.median(0).values).norm(dim=1) * 180 / torch.pi
    names = load_open_head().expression_names
    jaw, blink = names.index("jawOpen"), names.index("eyeBlinkLeft")
    yaws = [torch.atan2(r[:, 0, 2], r[:, 2, 2]).numpy() for r in (found, true)]
    jaws = [motion.expression[:, jaw].numpy() for motion in (streamed, other)]
    return {
        "rotation apart, degrees, median": round(float(apart.norm(dim=1).median()) * 180 / np.pi, 2),
        "rotation apart but for a constant, median": round(float(moving.median()), 2),
        "jawOpen apart, median": round(float((streamed.expression - other.expression)[:, jaw].abs().median()), 3),
        "eyeBlinkLeft apart, median": round(
            float((streamed.expression - other.expression)[:, blink].abs().median()), 3
        ),
        "yaw comes later by, milliseconds": round(1000 * lag(*yaws) / rate, 1),
        "jaw comes later by, milliseconds": round(1000 * lag(*jaws) / rate, 1),
    }


def head_rotations(motion: Motion) -> torch.Tensor:
    body = rotation_matrix_from_axis_angle(motion.global_rotation)
    return body @ rotation_matrix_from_axis_angle(motion.neck_rotation)


def lag(found: np.ndarray, true: np.ndarray) -> float:
    """Frames by which `found` comes after `true`, where it may also be larger and beside it, by least squares."""
    slope = np.gradient(true)
    columns = np.stack([slope, true - true.mean(), np.ones_like(true)], 1)
    return -float(np.linalg.lstsq(columns, found - true, rcond=None)[0][0])


if __name__ == "__main__":
    main()
