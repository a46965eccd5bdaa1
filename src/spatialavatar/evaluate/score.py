"""All metrics of one clip: a table with a row per frame, that a stopped run takes up where it was left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.evaluate import arcface, motion, pixels, regions, spikes
from spatialavatar.evaluate.estimator import FaceEstimator, default_estimator
from spatialavatar.evaluate.faces import FaceReader, Points, face_reader, has_face
from spatialavatar.evaluate.frame_table import FrameTable
from spatialavatar.evaluate.motion import Values
from spatialavatar.evaluate.pictures import Pair, Pictures, Pixels
from spatialavatar.progress import Progress, Silent
from spatialavatar.splat.lpips import Lpips, find_lpips, load_lpips

PIXEL_METRICS = ("mse", "psnr", "ssim", "ssim_reflect", "ms_ssim", "spike", "flicker")
REGION_METRICS = tuple(regions.IDS)
FACE_METRICS = ("akd", "akd_sum", "akd_l1", "jitter", "blink", "eye_opening")
CODE_METRICS = ("aed", "aed_sum", "apd", "apd_sum")
METRICS = (*PIXEL_METRICS, *REGION_METRICS, "lpips", "csim", *FACE_METRICS, *CODE_METRICS)
QUICK = ("mse", "psnr", "ssim", "psnr_above_chin")
"""What tells two starts apart, in a tenth of the time of everything."""
LOWER_IS_BETTER = frozenset(
    {"mse", "spike", "flicker", "lpips", "akd", "akd_sum", "akd_l1", "jitter", "eye_opening", *CODE_METRICS}
)


def in_order(names: Iterable[str]) -> list[str]:
    """Metrics in the order of `METRICS`; those of given estimators (`aed@NAME`) follow, estimator by estimator."""
    found = set(names)
    known = {name: place for place, name in enumerate(METRICS)}
    given = sorted(
        found - known.keys(), key=lambda name: (name.partition("@")[2], known.get(name.partition("@")[0], 0))
    )
    return [name for name in METRICS if name in found] + given


_SAVE_EVERY = 25
_FLICKER_ID = "flicker.residual-l1-1"


@dataclass(frozen=True)
class Scores:
    """What was measured in one clip.

    Attributes:
        clip: Its name.
        names: T frames.
        columns: Metric -> id and T values, NaN where it could not be measured.
        missing: Targets that have no prediction.
        without_face: How many targets, and how many predictions, show no face that can be found; None when nobody
            looked.
        blinks: In how many frames the target's eyes are shut; None when nobody looked.
        notes: Sentences for people.
    """

    clip: str
    names: tuple[str, ...]
    columns: dict[str, motion.Column]
    missing: tuple[str, ...]
    without_face: tuple[int, int] | None
    blinks: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Tools:
    """What metrics need beside the pictures; None for what is not wanted or not there."""

    metrics: tuple[str, ...]
    reader: FaceReader | None = None
    lpips: Lpips | None = None
    arcface: arcface.ArcFace | None = None
    estimator: FaceEstimator | None = None
    notes: tuple[str, ...] = ()

    @property
    def ids(self) -> dict[str, str]:
        """Ids of the metrics that are measured frame by frame."""
        found = {**pixels.IDS, **regions.IDS, "spike": spikes.ID, "flicker": _FLICKER_ID}
        if self.lpips is not None:
            found["lpips"] = self.lpips.id
        if self.reader is not None and self.arcface is not None:
            found["csim"] = arcface.metric_id(self.arcface, self.reader.id)
        return {name: id for name, id in found.items() if name in self.metrics}


@contextlib.contextmanager
def open_tools(
    metrics: Sequence[str] | None = None,
    *,
    lpips: str | Path | None = None,
    arcface_network: str | Path | None = None,
    known_landmarks: bool = False,
    keep: Sequence[str] = (),
) -> Iterator[Tools]:
    """Load what the metrics need.

    Args:
        metrics: Which of `METRICS`; by default all for which the weights are at hand. One that is asked for by name
            must be at hand.
        lpips: Folder with LPIPS's weights.
        arcface_network: An ArcFace .onnx file.
        keep: Only these, where `metrics` names none.
        known_landmarks: Whether all targets bring landmarks, so that regions need no detector.

    Raises:
        UserError: An unknown metric, or one asked for by name whose weights are missing.
    """
    asked = set(metrics or ())
    unknown = sorted(asked - set(METRICS))
    if unknown:
        raise UserError(f"there is no metric {unknown[0]!r}.", hint=f"There are: {', '.join(METRICS)}.")
    wanted = asked or set(keep) or set(METRICS)
    notes: list[str] = []
    network = face = None
    if "lpips" in wanted:
        if lpips is not None or "lpips" in asked or None not in find_lpips():
            network = load_lpips(lpips)
        else:
            notes.append(_without("LPIPS", lambda: load_lpips()))
    if "csim" in wanted:
        if "csim" in asked or arcface.arcface_path(arcface_network) is not None:
            face = arcface.load_arcface(arcface_network)
        else:
            notes.append(_without("CSIM", lambda: arcface.load_arcface()))
    wanted = wanted - {name for name, tool in (("lpips", network), ("csim", face)) if tool is None}
    chosen = tuple(name for name in METRICS if name in wanted)
    need_faces = {*FACE_METRICS, *CODE_METRICS, "csim", *(() if known_landmarks else REGION_METRICS)}
    if not wanted & need_faces:
        yield Tools(chosen, lpips=network, notes=tuple(notes))
        return
    with face_reader() as reader:
        estimator = default_estimator(reader.id) if wanted & set(CODE_METRICS) else None
        yield Tools(chosen, reader, network, face, estimator, tuple(notes))


def _without(name: str, load: Callable[[], object]) -> str:
    """Why a metric is left out, in the words of its loader."""
    try:
        load()
    except UserError as error:
        return f"{name} is left out: {error.what}" + (f" {error.hint}" if error.hint else "")
    return f"{name} is left out."


def score_pictures(
    pictures: Pictures,
    tools: Tools,
    *,
    keep: Path | None = None,
    progress: Progress | None = None,
    same_person: bool = True,
    same_view: bool = True,
    person: Pixels | None = None,
) -> Scores:
    """Measure every frame of a clip.

    Args:
        pictures: The clip.
        tools: From `open_tools`.
        keep: A folder for what has been measured so far; a run that was stopped goes on from there.
        progress: Where to show how far it is.
        same_person: Whether prediction and target show one person; else each is measured with its own face.
        same_view: Whether prediction and target should be equal, pixel by pixel; else only what compares people and
            motion is measured (cross-reenactment).
        person: (H, W, 3) a picture of who the predictions should show, for CSIM; by default the targets themselves.

    Raises:
        UserError: A picture cannot be read, or sizes differ.
    """
    progress = progress or Silent()
    table = FrameTable(pictures, tools.ids, None if tools.reader is None else tools.reader.id, keep)
    shown = None
    if person is not None and tools.arcface is not None and tools.reader is not None:
        found = tools.reader(person)
        if not has_face(found):
            raise UserError("no face is found in the source picture, so CSIM cannot be measured.", where=pictures.clip)
        shown = tools.arcface.embed(person, found)
    with progress.stage(f"Scoring {pictures.clip}"[:22], len(pictures.names)) as advance:
        if table.done:
            advance(table.done, note="measured before")
        previous: Pair | None = None
        if 0 < table.done < len(pictures.names):
            previous = pictures.pair(table.done - 1)
        for index in range(table.done, len(pictures.names)):
            pair = pictures.pair(index)
            before = previous if bool(pictures.consecutive[index]) else None
            values = _frame_values(pair, before, tools, same_view)
            points: dict[str, Points] = {}
            if tools.reader is not None:
                points = {"prediction": tools.reader(pair.prediction), "target": tools.reader(pair.target)}
                values |= _identity(pair, points, tools, shown)
            if same_view and (pair.landmarks is not None or points):
                at = pair.landmarks if pair.landmarks is not None else points["target"]
                values |= _region_values(pair, at, tools)
            table.add(values, points)
            if index % _SAVE_EVERY == _SAVE_EVERY - 1:
                table.save()
            previous = pair
            advance(note="")
    table.save()
    return _collect(pictures, table, tools, progress, same_person, same_view)


def _frame_values(pair: Pair, before: Pair | None, tools: Tools, same_view: bool) -> dict[str, float]:
    """Metrics of one frame that need only the frame (and the one before it), without landmarks."""
    wanted = set(tools.metrics)
    image, target = _floats(pair.prediction), _floats(pair.target)
    if not same_view:
        return {}
    measures: dict[str, Callable[[], float]] = {
        "mse": lambda: pixels.mse(image, target),
        "psnr": lambda: pixels.psnr(image, target),
        "ssim": lambda: pixels.ssim(image, target),
        "ssim_reflect": lambda: pixels.ssim_reflect(image, target),
        "ms_ssim": lambda: pixels.ms_ssim(image, target),
        "spike": lambda: spikes.spike_score(image, target),
        "flicker": lambda: _flicker(pair, before),
    }
    network = tools.lpips
    if network is not None:
        measures["lpips"] = lambda: float(network(_batch(image), _batch(target)))
    with torch.no_grad():
        return {name: measure() for name, measure in measures.items() if name in wanted}


def _flicker(pair: Pair, before: Pair | None) -> float:
    """How much the error changes from the frame before: mean over pixels, in 255ths; NaN where there is none."""
    if before is None:
        return float("nan")
    now = pair.prediction.astype(np.int16) - pair.target
    then = before.prediction.astype(np.int16) - before.target
    return float(np.abs(now - then).mean())


def _region_values(pair: Pair, landmarks: Points, tools: Tools) -> dict[str, float]:
    """PSNR of the wanted regions of the target with these landmarks."""
    wanted = [name for name in regions.REGIONS if f"psnr_{name}" in tools.metrics]
    if not wanted:
        return {}
    height, width = pair.target.shape[:2]
    matte = None if pair.matte is None else torch.from_numpy(pair.matte).float() / 255
    masks = regions.region_masks(landmarks, width, height, matte)
    image, target = _floats(pair.prediction), _floats(pair.target)
    return {f"psnr_{name}": pixels.psnr(image, target, masks[name]) for name in wanted}


def _identity(
    pair: Pair, points: dict[str, Points], tools: Tools, shown: NDArray[np.float32] | None
) -> dict[str, float]:
    """CSIM with the target, or with the embedding of who it should be."""
    network = tools.arcface
    if network is None or not has_face(points["prediction"]) or (shown is None and not has_face(points["target"])):
        return {}
    theirs = network.embed(pair.target, points["target"]) if shown is None else shown
    return {"csim": float(network.embed(pair.prediction, points["prediction"]) @ theirs)}


def _collect(
    pictures: Pictures, table: FrameTable, tools: Tools, progress: Progress, same_person: bool, same_view: bool
) -> Scores:
    """Add the metrics that need all frames' landmarks."""
    columns = {
        name: motion.Column(tools.ids[name], np.array(values, np.float64)) for name, values in table.columns.items()
    }
    without_face = shut = None
    if tools.reader is not None and table.done:
        ours, theirs = table.stacked("prediction"), table.stacked("target")
        seen = [np.isfinite(side[:, 0, 0]) for side in (ours, theirs)]
        without_face = (int((~seen[1]).sum()), int((~seen[0]).sum()))
        height, width = pictures.pair(0).target.shape[:2]
        reader = tools.reader.id
        if same_view:
            columns |= motion.keypoint_distances(ours, theirs, height, reader)
            shaking = motion.jitter(ours, theirs, height, pictures.consecutive)
            columns["jitter"] = motion.Column(f"jitter.residual-bend-at-512.{reader}-{motion.VERSION}", shaking)
        agreement, opening, shut = motion.blinks(ours, theirs)
        columns["blink"] = motion.Column(f"blink-agreement.{reader}-{motion.VERSION}", agreement)
        columns["eye_opening"] = motion.Column(f"eye-opening.{reader}-{motion.VERSION}", opening)
        if tools.estimator is not None:
            columns |= _codes(tools.estimator, ours, theirs, (width, height), progress, same_person)
    columns = {name: columns[name] for name in METRICS if name in columns and name in tools.metrics}
    if not same_view:
        columns = {n: c for n, c in columns.items() if n not in PIXEL_METRICS and not n.startswith("psnr")}
    return Scores(
        pictures.clip,
        pictures.names,
        columns,
        pictures.missing,
        without_face,
        shut,
        _face_notes(pictures, without_face),
    )


def _codes(
    estimator: FaceEstimator,
    ours: Points,
    theirs: Points,
    size: tuple[int, int],
    progress: Progress,
    same_person: bool,
) -> dict[str, motion.Column]:
    nothing: Values = np.full(len(ours), np.nan)
    with progress.stage("Expression and pose", 2 * len(ours)) as advance:
        target_person = estimator.meet(theirs, size)
        person = target_person if same_person else estimator.meet(ours, size)
        if target_person is None or person is None or not np.isfinite(ours).any():
            return {name: motion.Column(f"{name}.{estimator.id}", nothing) for name in CODE_METRICS}
        target_codes = estimator.measure(theirs, size, target_person, advance)
        codes = estimator.measure(ours, size, person, advance)
    return motion.code_distances(codes, target_codes, estimator.id)


def _face_notes(pictures: Pictures, without_face: tuple[int, int] | None) -> tuple[str, ...]:
    notes = []
    if pictures.missing:
        notes.append(f"{len(pictures.missing)} targets of {pictures.clip} have no prediction and are not scored.")
    if without_face is not None and any(without_face):
        notes.append(
            f"{pictures.clip}: no face is found in {without_face[0]} targets and {without_face[1]} predictions; they "
            "are left out of what needs a face, and not scored as zero."
        )
    return tuple(notes)


def _floats(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).float() / 255


def _batch(image: Tensor) -> Tensor:
    return image.permute(2, 0, 1)[None]
