"""What becomes of every command and snippet: it is run as it stands, or shorter as said here, or not, with the reason.

A command or snippet that is not in these tables is run as it stands. Options that make one shorter are the program's
own. One that is in a table but in no page fails a test.
"""

from __future__ import annotations

_FAST = "--fast --iterations 4"
_TINY_SET = "--subjects 2 --frames 2 --size 64 --workers 1"
_TABLE = "--size 64 --steps 2 --most-held-out 1"

SHORTER: dict[str, str] = {
    # README
    "spatialavatar create me.mp4": f"spatialavatar create me.mp4 {_FAST}",
    "spatialavatar create front.jpg left.jpg right.jpg": f"spatialavatar create front.jpg left.jpg right.jpg {_FAST}",
    "spatialavatar create me.mp4 --quick -o quick.avatar": (
        f"spatialavatar create me.mp4 --quick -o quick.avatar {_FAST}"
    ),
    "spatialavatar create me.mp4 --fast -o fast.avatar": (
        "spatialavatar create me.mp4 --fast -o fast.avatar --iterations 4"
    ),
    "spatialavatar render me.avatar": "spatialavatar render me.avatar --size 64 --frames 4",
    "spatialavatar track film.mp4 -o film.tracked": "spatialavatar track film.mp4 -o film.tracked --fast --size 256",
    "spatialavatar refine me.avatar me.tracked -o better.avatar --hold-out blocks": (
        # 8 frames are too few to hold any out.
        "spatialavatar refine me.avatar me.tracked -o better.avatar --hold-out none --iterations 4"
    ),
    "spatialavatar evaluate self me.mp4 -o scores": (
        "spatialavatar evaluate self me.mp4 -o scores --quick --fast --size 256"
    ),
    "spatialavatar bench": "spatialavatar bench --seconds 1 --sizes 64 --threads 1",
    # docs/datasets.md
    "spatialavatar prepare celebvhq sets/celebvhq -o prepared --workers 8": (
        "spatialavatar prepare celebvhq sets/celebvhq -o prepared --workers 1 --fast --size 256"
    ),
    # docs/driving.md
    "spatialavatar render me.avatar --drive WHAT -o out.mp4": (
        "spatialavatar render me.avatar --drive turntable -o out.mp4 --size 64 --frames 3"
    ),
    # docs/evaluation.md
    "spatialavatar evaluate self me.mp4 --source-frame 0 --start texture -o scores": (
        "spatialavatar evaluate self me.mp4 --source-frame 0 --start texture -o scores --quick --fast --size 256"
    ),
    "spatialavatar evaluate self me.tracked --avatar me.avatar --targets tail -o scores": (
        # Into a folder of its own: the first command's holds other clips.
        "spatialavatar evaluate self me.tracked --avatar me.avatar --targets tail -o tail --quick"
    ),
    "spatialavatar evaluate self clips --protocol vfhq-self-1 -o vfhq": (
        "spatialavatar evaluate self clips --protocol vfhq-self-1 -o vfhq --fast"
    ),
    "spatialavatar evaluate cross clips --protocol vfhq-cross-1 -o vfhq-cross": (
        "spatialavatar evaluate cross clips --protocol vfhq-cross-1 -o vfhq-cross --fast"
    ),
    "spatialavatar evaluate --predictions theirs --targets me.tracked --label theirs -o scores": (
        "spatialavatar evaluate --predictions theirs --targets me.tracked --label theirs -o given --quick"
    ),
    # docs/exports.md; you.mp4 has six frames here
    "spatialavatar export me.avatar --to spz --drive you.mp4 --frame 40 -o smile.spz": (
        "spatialavatar export me.avatar --to spz --drive you.mp4 --frame 4 -o smile.spz"
    ),
    # docs/generator.md; the frames of me.avatar lie in the folder already
    "spatialavatar create front.jpg side.jpg -o me.avatar": (
        f"spatialavatar create front.jpg side.jpg -o pair.avatar {_FAST}"
    ),
    "spatialavatar create me.mp4 --start generator --generator mine.safetensors": (
        f"spatialavatar create me.mp4 --start generator --generator mine.safetensors -o video.avatar {_FAST}"
    ),
    # docs/refinement.md
    "spatialavatar create me.mp4 --hold-out blocks": (
        f"spatialavatar create me.tracked -o held.avatar --hold-out blocks {_FAST}"
    ),
    "spatialavatar refine me.avatar me.tracked -o better.avatar": (
        "spatialavatar refine me.avatar me.tracked -o better.avatar --iterations 4"
    ),
    # docs/synthetic_people.md and docs/training.md
    "spatialavatar synth monocular -o sets/monocular": f"spatialavatar synth monocular -o sets/monocular {_TINY_SET}",
    "spatialavatar synth monocular -o sets/monocular --subjects 200 --frames 16": (
        f"spatialavatar synth monocular -o sets/monocular {_TINY_SET}"
    ),
    "spatialavatar synth multiview -o sets/multiview": (
        f"spatialavatar synth multiview -o sets/multiview {_TINY_SET} --cameras 2"
    ),
    "spatialavatar synth held_out -o sets/held_out": f"spatialavatar synth held_out -o sets/held_out {_TINY_SET}",
    # docs/tracking.md
    "spatialavatar track me.mp4 -o me.tracked": "spatialavatar track me.mp4 -o again.tracked --fast --size 256",
    "spatialavatar track front.jpg left.jpg right.jpg": (
        "spatialavatar track front.jpg left.jpg right.jpg --fast --size 256"
    ),
}

LEFT_OUT: dict[str, str] = {
    "make demo": "minutes; tests/cli tests what it does",
    "make test": "this test is a part of it",
    "pip install .": "the package is installed already: tests run in it",
    "spatialavatar prepare celebvhq sets/celebvhq -o prepared --cluster auto --workers 160": "needs a running cluster",
    "spatialavatar view me.avatar --webcam face_landmarker.task": "needs a camera",
    'pip install "spatialavatar[train,eval]"': "the extras are installed already",
    "cd web": "the four lines after it belong together; tests/view/test_web.py runs what they run",
    "npm ci": "see above",
    "npm test": "see above",
    "npm run build": "see above",
    "python benchmarks/growth.py": "measures for an hour",
    "python benchmarks/rasteriser.py": "measures for minutes",
}
for _line in (
    "spatialavatar evaluate table 5 --data sets/monocular --multiview sets/multiview --held-out sets/held_out"
    " -o tables",
    "spatialavatar evaluate table 7 --data sets/monocular --held-out sets/held_out --steps 500 --rows linear cosine"
    " -o tables",
    "spatialavatar evaluate table 9 --data me.tracked you.tracked -o tables",
):
    LEFT_OUT[_line] = "trains for hours; tests/evaluate/test_ablations.py runs tables of two steps"
for _line in (
    "spatialavatar train compact-phase1 --data sets/monocular --held-out sets/held_out -o runs/one",
    "spatialavatar train compact-phase2 --data sets/multiview sets/monocular --held-out sets/held_out --start runs/one"
    " -o runs/two",
    "spatialavatar train ship runs/two -o compact.safetensors",
):
    LEFT_OUT[_line] = "trains for hours; tests/train/test_cli_train.py trains a small one with the same commands"

EXPERIMENTS: dict[str, str] = {
    "novel_views.md": "benchmarks of an hour and more, as they are run",
    "results.md": "experiments of hours, as they were run",
    "model_card.md": "how the shipped model was trained: days, as it was run",
    "gallery.md": "makes the gallery from pictures that are not in the repository",
    "open_head.md": "rebuilds the open head from another package's files",
}
"""Pages whose commands are a record. They are parsed by tests/docs/test_promises.py all the same."""

EXPERIMENT_PREFIXES: dict[str, tuple[str, ...]] = {
    "refinement.md": ("python benchmarks/", "spatialavatar track wojtek.mp4"),
    "reliability.md": ("python benchmarks/",),
    "tracking.md": ("python benchmarks/", "spatialavatar synth held_out --subjects 4"),
}
"""The same for single commands of other pages."""

BEFORE: dict[str, str] = {
    "driving.md": "import numpy as np\nweights = np.linspace(0, 0.3, 12).reshape(4, 3)\n",
    "evaluation.md": "from pathlib import Path\n",
    "speed.md": (
        "import spatialavatar as sa\navatar = sa.load_avatar('me.avatar')\nshown = []\nshow = shown.append\n"
        "motions = sa.retarget(sa.load_recording('take.csv', avatar.head), avatar)\n"
    ),
    "tracking.md": (
        "import av\ncamera = (frame.to_ndarray(format='rgb24') for frame in av.open('me.mp4').decode(video=0))\n"
    ),
}
"""What a page's Python snippets take for granted: names that the text around them explains."""

PYTHON_SHORTER: dict[str, str] = {
    'sa.create_avatar(["me.mp4"], "me.avatar")': (
        'sa.create_avatar(["me.mp4"], "mine.avatar", sa.CreateOptions(fast=True, iterations=4))'
    ),
    'sequence = sa.track_frames("me.mp4", output="me.tracked")': (
        'sequence = sa.track_frames("me.mp4", output="third.tracked", size=256, fast=True)'
    ),
    "avatar.default_camera(512)": "avatar.default_camera(64)",
    'sa.render_video(avatar, motion, "out.mp4", recording.frame_rate)': (
        'sa.render_video(avatar, motion[:4], "made.mp4", recording.frame_rate)'
    ),
    "for i in range(300):": "for i in range(20):",
}
"""Lines of Python snippets, and what is run for them."""
