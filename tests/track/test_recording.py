"""The grade of a recording: each reason is given when it should be, and not otherwise."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.sequence.sequence import MemoryFrames, TrackedSequence
from spatialavatar.track.curves import CURVES_FILE, draw_curves, measure_curves, write_curves
from spatialavatar.track.facts import Facts, cut_share, face_blur, measured_facts
from spatialavatar.track.matte_check import matte_flicker, overlap_without_hair, run_flicker, silhouette_overlap
from spatialavatar.track.outline import matte_contour
from spatialavatar.track.recording import RULES, grade_recording
from tests.track.media import astronaut
from tests.track.synthetic import Synthetic, synthetic

GOOD = Facts(
    kind="video",
    frames=500,
    seconds=20.0,
    face_height=260.0,
    turned_left=35.0,
    turned_right=32.0,
    nodding=25.0,
    mouth=0.09,
    blinks=6,
    missing=0.0,
    blur=0.4,
    burnt=0.0,
    brightness=180.0,
    unevenness=1.2,
    exposure_change=1.1,
    cut_off=0.0,
    landmark_error=0.03,
    jitter=0.7,
    flicker=0.05,
    silhouette=0.97,
    people=1,
    cuts=0,
    face_score=0.94,
)

BAD = [
    ("face", {"face_height": 90.0}, "usable", "only 90 pixels high"),
    ("face", {"face_height": 60.0}, "poor", "only 60 pixels high"),
    ("person", {"face_score": 0.71}, "poor", "a little like a person's face (score 0.71)"),
    ("length", {"seconds": 2.0}, "usable", "only 2.0 seconds"),
    ("missing", {"missing": 0.25}, "usable", "25 % of the frames"),
    ("missing", {"missing": 0.5}, "poor", "50 % of the frames"),
    ("turning", {"turned_left": 6.0}, "usable", "6 degrees to the left, 32 to the right"),
    ("turning", {"turned_right": -3.0}, "usable", "0 to the right"),
    ("nodding", {"nodding": 3.0}, "usable", "never nods"),
    ("mouth", {"mouth": 0.01}, "usable", "mouth never opens"),
    ("blinking", {"blinks": 0}, "usable", "Nobody blinks"),
    ("blur", {"blur": 0.7}, "usable", "blurry"),
    ("blur", {"blur": 0.8}, "poor", "blurry"),
    ("too bright", {"burnt": 0.05}, "usable", "over-exposed: 5 %"),
    ("too bright", {"burnt": 0.3}, "poor", "over-exposed"),
    ("too dark", {"brightness": 60.0}, "usable", "too dark"),
    ("too dark", {"brightness": 30.0}, "poor", "too dark"),
    ("uneven light", {"unevenness": 4.0}, "usable", "one side"),
    ("exposure", {"exposure_change": 2.5}, "usable", "light on the face changes"),
    ("cut off", {"cut_off": 0.3}, "usable", "cuts off 30 %"),
    ("fit", {"landmark_error": 0.06}, "usable", "badly"),
    ("trembling", {"jitter": 4.0}, "usable", "trembles"),
    ("flicker", {"flicker": 1.0}, "usable", "flickers"),
    ("silhouette", {"silhouette": 0.9}, "usable", "outline differ"),
    ("people", {"people": 2}, "usable", "2 faces"),
    ("cuts", {"cuts": 1}, "usable", "cut 1 time:"),
]


def test_advice_names_the_overlay_that_is_written() -> None:
    for kind, file in (("video", "overlay.mp4"), ("photos", "overlay.png")):
        facts = replace(GOOD, kind=kind, frames=4, landmark_error=0.06, silhouette=0.9)
        advices = [reason.advice for reason in grade_recording(facts).reasons if "verlay" in reason.advice]
        assert len(advices) == 2 and all(f"See {file}: " in advice for advice in advices)


def test_a_good_recording() -> None:
    verdict = grade_recording(GOOD)
    assert verdict.grade == "good" and verdict.reasons == ()


@pytest.mark.parametrize(("name", "change", "grade", "text"), BAD)
def test_each_reason_by_itself(name: str, change: dict[str, float], grade: str, text: str) -> None:
    verdict = grade_recording(replace(GOOD, **change))
    assert [reason.name for reason in verdict.reasons] == [name]
    assert verdict.grade == grade and text in verdict.reasons[0].text and verdict.reasons[0].advice.endswith(".")


def test_every_rule_is_tested() -> None:
    assert {rule.name for rule in RULES} == {name for name, *_ in BAD} | {"one view"}


def test_photos_are_not_asked_for_what_only_videos_have() -> None:
    photos = Facts(kind="photos", frames=3, face_height=300.0, turned_left=30.0, turned_right=30.0, mouth=0.0)
    assert grade_recording(photos).grade == "good"
    front = replace(photos, turned_right=2.0)
    assert [reason.name for reason in grade_recording(front).reasons] == ["turning"]
    one = replace(front, frames=1)
    assert [reason.name for reason in grade_recording(one).reasons] == ["one view"]


def test_what_is_not_known_is_not_held_against_anybody() -> None:
    assert grade_recording(Facts(kind="video", frames=5)).grade == "good"
    assert grade_recording(replace(GOOD, jitter=None, blur=float("nan"))).grade == "good"
    # In two seconds nobody has to blink.
    assert "blinking" not in {r.name for r in grade_recording(replace(GOOD, seconds=2.0, blinks=0)).reasons}


def test_the_worst_reason_gives_the_grade_and_comes_first() -> None:
    verdict = grade_recording(replace(GOOD, blinks=0, burnt=0.5))
    assert verdict.grade == "poor" and [reason.name for reason in verdict.reasons] == ["too bright", "blinking"]
    report = verdict.report()
    assert report["grade"] == "poor" and report["measured"]["blinks"] == 0
    assert report["reasons"][0]["text"].startswith("The face is over-exposed")


@pytest.fixture(scope="module")
def made() -> tuple[Synthetic, TrackedSequence]:
    """The true motion of the synthetic head, as if it had been tracked."""
    case = synthetic(30)
    sequence = TrackedSequence(
        head_edition=case.head.edition,
        identity=case.identity,
        motion=case.motion,
        camera_from_world=case.camera_from_world,
        intrinsics=case.intrinsics,
        width=256,
        height=256,
        frame_rate=25.0,
        names=case.observations.names,
        landmarks=torch.from_numpy(case.observations.landmarks[..., :2].copy()),
        frames=MemoryFrames(case.images, case.mattes),
    )
    return case, sequence


def test_curves_of_known_motion(made: tuple[Synthetic, TrackedSequence], tmp_path) -> None:
    case, sequence = made
    curves = measure_curves(sequence, case.head, load_landmarks(case.head))
    # The landmarks are those of the mesh, rounded to float32.
    assert float(np.nanmax(curves.landmark_error)) < 1e-3
    yaw = np.degrees(case.motion.neck_rotation[:, 1].numpy())
    # Yaw and pitch are given as one axis-angle vector, so that they mix a little.
    assert np.abs(curves.yaw - yaw).max() < 1.0
    assert np.corrcoef(curves.pitch, case.motion.neck_rotation[:, 0].numpy())[0, 1] > 0.95
    jaw = case.motion.expression[:, case.head.expression_names.index("jawOpen")].numpy()
    assert np.corrcoef(curves.mouth, jaw)[0, 1] > 0.95
    assert curves.closed[-1] > 0.25 and curves.closed[0] == 0  # Half a blink at the end.
    assert draw_curves(curves).size[0] == 1000
    write_curves(curves, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CURVES_FILE]


def test_curves_of_frames_without_a_face(made: tuple[Synthetic, TrackedSequence]) -> None:
    case, sequence = made
    landmarks = sequence.landmarks.clone()
    landmarks[5:8] = float("nan")
    valid = torch.ones(30, dtype=torch.bool)
    valid[5:8] = False
    gap = replace(sequence, landmarks=landmarks, valid=valid)
    curves = measure_curves(gap, case.head, load_landmarks(case.head))
    assert np.flatnonzero(np.isnan(curves.yaw)).tolist() == [5, 6, 7]
    assert measured_facts(gap, curves).missing == pytest.approx(0.1)
    draw_curves(curves)


def test_blinks_are_counted(made: tuple[Synthetic, TrackedSequence]) -> None:
    curves = measure_curves(made[1], made[0].head, load_landmarks(made[0].head))
    closed = np.zeros(30)
    closed[[4, 5, 6, 15, 16]] = 0.9
    closed[28] = 0.4  # Half shut is no blink.
    assert replace(curves, closed=closed).blinks == 2
    closed[5] = np.nan  # Half way through the face was not seen: still one blink.
    assert replace(curves, closed=closed).blinks == 2


def test_facts_of_a_made_recording(made: tuple[Synthetic, TrackedSequence]) -> None:
    case, sequence = made
    curves = measure_curves(sequence, case.head, load_landmarks(case.head))
    facts = measured_facts(sequence, curves)
    assert facts.kind == "video" and facts.frames == 30 and facts.seconds == pytest.approx(1.2)
    heights = np.ptp(case.observations.landmarks[:, :468, 1], axis=1)
    assert facts.face_height == pytest.approx(float(np.median(heights)))
    assert measured_facts(sequence, curves, scales=np.full(30, 2.0)).face_height == pytest.approx(
        float(np.median(heights)) / 2
    )
    # Skin of one colour, lit by nothing: even, neither dark nor burnt.
    assert facts.unevenness == pytest.approx(1.0, abs=0.05) and facts.burnt == 0 and facts.brightness > 150
    assert facts.exposure_change == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda image, k: np.clip(image * 2.2, 0, 255), "too bright"),
        (lambda image, k: image * 0.15, "too dark"),
        (lambda image, k: image * np.where(np.arange(256) < 128, 0.4, 1.0)[None, :, None], "uneven light"),
        (lambda image, k: image * (0.5 if k % 2 else 1.0), "exposure"),
    ],
)
def test_light_is_read_from_the_pixels(made: tuple[Synthetic, TrackedSequence], change, name: str) -> None:
    case, sequence = made
    images = {n: change(image.astype(float), k).astype(np.uint8) for k, (n, image) in enumerate(case.images.items())}
    lit = replace(sequence, frames=MemoryFrames(images, case.mattes))
    curves = measure_curves(sequence, case.head, load_landmarks(case.head))

    def reasons(of: TrackedSequence) -> set[str]:
        return {reason.name for reason in grade_recording(measured_facts(of, curves)).reasons}

    assert name in reasons(lit) and name not in reasons(sequence)


def test_blur_is_seen_and_enlarging_is_not_blur() -> None:
    face = astronaut()[:256, 96:352]
    corners = np.array([[70.0, 60.0], [190.0, 180.0]], np.float32)
    landmarks = np.resize(corners, (478, 2)).astype(np.float32)
    sharp = face_blur(face, landmarks)
    soft = face_blur(cv2.GaussianBlur(face, (0, 0), 4), landmarks)
    rule = next(rule for rule in RULES if rule.name == "blur")
    assert rule.judge(replace(GOOD, blur=sharp)) is None and rule.judge(replace(GOOD, blur=soft)) is not None
    larger = np.asarray(cv2.resize(face, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC))
    # The same pixels of the source, looked at as they were recorded.
    assert face_blur(larger, landmarks * 3, scale=3.0) == pytest.approx(sharp, abs=0.05)


def test_the_edge_of_the_picture_cuts(made: tuple[Synthetic, TrackedSequence]) -> None:
    contours = made[0].observations.contours.copy()
    assert cut_share(contours) == 0
    for contour in contours:
        known = np.flatnonzero(np.isfinite(contour[:, 0]))
        contour[known[: len(known) // 4], 5] = 0
    assert cut_share(contours) == pytest.approx(0.25, abs=0.02)
    assert cut_share(np.full((2, 8, 6), np.nan, np.float32)) is None


def disc(x: float, radius: float = 40) -> np.ndarray:
    rows, columns = np.mgrid[:128, :160]
    away = np.hypot(rows - 64, columns - x)
    return (np.clip(radius - away + 0.5, 0, 1) * 255).astype(np.uint8)


def test_motion_is_no_flicker() -> None:
    still, _ = run_flicker(np.stack([disc(80)] * 5))
    moving, steps = run_flicker(np.stack([disc(60 + 6 * k) for k in range(5)]))
    # Where the rim runs along the motion, a pixel may enter and leave within five frames.
    assert still == 0 and moving < 0.2 and steps.max() < 0.01


def test_flicker_is_measured_in_pixels_of_the_rim() -> None:
    rim, steps = run_flicker(np.stack([disc(80, 40), disc(80, 40), disc(80, 43), disc(80, 40), disc(80, 40)]))
    # Three pixels of radius, along a contour whose points step diagonally: fewer of them than its length.
    assert 2.5 < rim < 4.0 and steps.max() > 0.1


def test_flicker_of_a_sequence(made: tuple[Synthetic, TrackedSequence]) -> None:
    case, sequence = made
    steady = matte_flicker(sequence)
    assert steady is not None and steady.rim < 0.2 and steady.jumps == 0
    kernel = np.ones((9, 9), np.uint8)
    mattes = {n: matte if k % 2 else cv2.dilate(matte, kernel) for k, (n, matte) in enumerate(case.mattes.items())}
    nervous = matte_flicker(replace(sequence, frames=MemoryFrames(case.images, mattes)))
    assert nervous is not None and nervous.rim > 2 and nervous.jumps > 0.5
    assert matte_flicker(sequence.select(range(3))) is None


def test_the_silhouette_of_the_true_head(made: tuple[Synthetic, TrackedSequence]) -> None:
    case, sequence = made
    sequence = sequence.select(range(0, 30, 6))
    found = silhouette_overlap(sequence, case.head)
    assert found is not None and found.overlap > 0.99 and found.measured > 0.8
    shifted = replace(sequence, camera_from_world=sequence.camera_from_world.clone())
    shifted.camera_from_world[:, 0, 3] += 0.02
    moved = silhouette_overlap(shifted, case.head)
    # Two centimetres of a head of fifteen.
    assert moved is not None and 0.6 < moved.overlap < 0.85


def test_hair_is_left_out_of_the_silhouette_and_skin_is_not(made: tuple[Synthetic, TrackedSequence]) -> None:
    case, _ = made
    name, landmarks = case.observations.names[0], case.observations.landmarks[0, :, :2]
    mesh = case.mattes[name] > 0
    wide = cv2.dilate(case.mattes[name], np.ones((25, 25), np.uint8))
    image = case.images[name].copy()

    def overlap(colour: tuple[int, int, int]) -> float:
        image[(wide > 0) & ~mesh] = colour
        return overlap_without_hair(mesh, wide > 0, matte_contour(image, wide, landmarks, most=None), landmarks)[0]

    hair, skin = overlap((40, 25, 20)), overlap((205, 160, 140))
    assert hair > 0.99 and skin < 0.85
