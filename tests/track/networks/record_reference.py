"""Records what MediaPipe itself finds in the astronaut, for `test_reference.py`.

    python -m tests.track.networks.record_reference

Needs Python 3.12 or older and `pip install mediapipe==0.10.14` beside the package (the extra `oracle`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.track.media import astronaut
from tests.track.networks.oracle import boxes, landmarks, matte

REFERENCE = Path(__file__).with_name("astronaut.npz")


def main() -> None:
    picture = astronaut()
    (still,) = landmarks([picture], still=True)
    follow = landmarks([picture, np.roll(picture, 3, axis=1)], still=False)
    short, full = boxes(picture, 0), boxes(picture, 1)
    # Every eighth pixel of the matte says enough and is small.
    np.savez_compressed(
        REFERENCE, landmarks=still, second=follow[1], short=short, full=full, matte=matte(picture)[::8, ::8]
    )


if __name__ == "__main__":
    main()
