"""Tries an installed wheel: the kernels, every import, `doctor`, and an avatar made and rendered.

    python tools/check_wheel.py             everything, in a minute or two
    python tools/check_wheel.py --kernels   the compiled kernels alone, without torch: needs only NumPy

Run it outside the source tree, so that the installed package is the one that is tried.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def load_native():
    """The extension module by its file: the package around it would want torch."""
    for place in map(Path, sys.path):
        for path in sorted([*place.glob("spatialavatar/_native*.so"), *place.glob("spatialavatar/_native*.pyd")]):
            spec = importlib.util.spec_from_file_location("spatialavatar._native", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module, path
    raise SystemExit("no compiled kernels are installed")


def check_kernels(native, path: Path) -> None:
    """One Gaussian, drawn with every instruction set that this processor has."""
    size, pictures = 32, {}
    world, pinhole = np.eye(4), np.array([[32.0, 0, 16], [0, 32, 16], [0, 0, 1]])
    f32 = np.float32
    arrays = (
        np.array([[0, 0, 1]], f32),
        np.array([[1, 0, 0, 0]], f32),
        np.full((1, 3), 0.1, f32),
        np.array([0.9], f32),
        np.ones((1, 3), f32),
    )
    for name in native.instruction_sets():
        native.select_instruction_set(name)
        image, alpha = np.zeros((3, size, size), f32), np.zeros((size, size), f32)
        projected = (np.zeros((1, 2), f32), np.zeros((1, 3), f32), np.zeros(1, f32), np.zeros(1, f32))
        native.render_forward(native.Context(), *arrays, world, pinhole, np.zeros(3, f32), image, alpha, *projected)
        pictures[name] = image
        assert abs(float(image[0, 16, 16]) - 0.9) < 0.05, "a Gaussian of opacity 0.9 in the middle"
    first = next(iter(pictures.values()))
    assert all(np.abs(picture - first).max() < 1e-5 for picture in pictures.values())
    print(f"{path.name}: {', '.join(pictures)} agree")


def check_doctor() -> None:
    """Every import of `create`, every model, the generator, the page."""
    from spatialavatar.cli.main import main

    assert main(["doctor"]) == 0, "doctor finds problems"


def check_avatar_without_tracking(folder: Path) -> None:
    """A person who does not exist, with a known motion, becomes an avatar that is rendered as a video."""
    from spatialavatar.cli.main import main
    from spatialavatar.create import CreateOptions, create_avatar

    people = folder / "people"
    size = ["--subjects", "1", "--frames", "2", "--size", "64", "--workers", "1"]
    assert main(["synth", "monocular", "-o", str(people), *size]) == 0
    (tracked,) = sorted(path.parent for path in people.rglob("sequence.json"))
    options = CreateOptions(fast=True, iterations=3, start="texture")
    made = create_avatar([tracked], folder / "nobody.avatar", options)
    video = folder / "nobody.mp4"
    render = ["render", str(made.avatar_path), "-o", str(video), "--size", "64", "--drive", str(tracked)]
    assert main(render) == 0
    frames = read_frames(video)
    assert len(frames) == 2 and all(frame.std() > 5 for frame in frames), "pictures that show somebody"
    print(f"without tracking: {len(made.avatar):,} Gaussians, {len(frames)} frames")


def check_avatar_of_a_photo(folder: Path) -> None:
    """The astronaut that comes with scikit-image: tracking, the generator, refinement."""
    from PIL import Image
    from skimage import data

    from spatialavatar.create import CreateOptions, create_avatar

    photo = folder / "photo.png"
    Image.fromarray(data.astronaut()).save(photo)
    made = create_avatar([photo], folder / "photo.avatar", CreateOptions(fast=True, iterations=5))
    picture = np.asarray(Image.open(made.preview_path).convert("RGB"))
    assert picture.std() > 5, "a picture that shows somebody"
    print(f"of a photo: {len(made.avatar):,} Gaussians")


def read_frames(path: Path) -> list[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", action="store_true", help="the compiled kernels alone")
    kernels_only = parser.parse_args().kernels
    began = time.perf_counter()
    if kernels_only:
        check_kernels(*load_native())
    else:
        import spatialavatar
        from spatialavatar import _native

        print(f"spatialavatar {spatialavatar.__version__}, Python {sys.version.split()[0]}")
        check_kernels(_native, Path(_native.__file__))
        check_doctor()
        with tempfile.TemporaryDirectory() as folder:
            check_avatar_without_tracking(Path(folder))
            check_avatar_of_a_photo(Path(folder))
    print(f"ok, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
