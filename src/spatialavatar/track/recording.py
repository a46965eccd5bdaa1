"""How good a recording is to make an avatar from: a grade, the reasons in plain words, and what to do better.

Everything follows from measured quantities and the thresholds in `RULES` (docs/recording.md has the same table).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from spatialavatar.sequence.folder import OVERLAY_FILES
from spatialavatar.track.facts import Facts
from spatialavatar.track.upright import SURE_FACE

Grade = Literal["good", "usable", "poor"]
_OVERLAY = "the overlay"
"""In an advice: the file in the tracked folder that shows mesh and landmarks on the frames."""
GRADES: tuple[Grade, ...] = ("good", "usable", "poor")


@dataclass(frozen=True)
class Reason:
    """Why a recording is not better."""

    name: str
    grade: Grade
    text: str
    advice: str


@dataclass(frozen=True)
class Rule:
    """One quantity, from where on it lowers the grade, and what is said then.

    Attributes:
        name: Of the reason.
        value: The quantity, None where it does not apply.
        below: Under the first limit the grade is usable at best, under the second (None: never) poor.
        above: The same of large values; a rule has one of the two.
        text: What is said, of the facts.
        advice: What to do about it.
    """

    name: str
    value: Callable[[Facts], float | None]
    text: Callable[[Facts], str]
    advice: str
    below: tuple[float, float | None] | None = None
    above: tuple[float, float | None] | None = None

    def judge(self, facts: Facts) -> Reason | None:
        """The reason, or None where all is well or nothing is known."""
        value = self.value(facts)
        if value is None or not math.isfinite(value):
            return None
        sign, limits = (1.0, self.below) if self.below is not None else (-1.0, self.above)
        assert limits is not None
        usable, poor = limits
        advice = self.advice.replace(_OVERLAY, OVERLAY_FILES.get(facts.kind, _OVERLAY))
        if poor is not None and sign * value < sign * poor:
            return Reason(self.name, "poor", self.text(facts), advice)
        if sign * value < sign * usable:
            return Reason(self.name, "usable", self.text(facts), advice)
        return None


def _least_turn(facts: Facts) -> float | None:
    """How far the head turns to the side that is seen less; of one photo nothing is asked here."""
    if facts.turned_left is None or facts.turned_right is None or facts.frames == 1:
        return None
    return min(facts.turned_left, facts.turned_right)


def _of_video(value: Callable[[Facts], float | None], seconds: float = 0.0) -> Callable[[Facts], float | None]:
    """Counts in videos of at least so many seconds only."""

    def asked(facts: Facts) -> float | None:
        return value(facts) if facts.kind == "video" and (facts.seconds or 0.0) >= seconds else None

    return asked


def _number(value: float | None, form: str = ".0f") -> str:
    return "?" if value is None else format(value, form)


RULES: tuple[Rule, ...] = (
    Rule(
        name="person",
        value=lambda f: f.face_score,
        below=(SURE_FACE, SURE_FACE),
        text=lambda f: (
            f"What is tracked looks only a little like a person's face (score {_number(f.face_score, '.2f')})."
        ),
        advice="Use a sharp picture of a person's face, uncovered; animals and drawings are tracked badly.",
    ),
    Rule(
        name="face",
        value=lambda f: f.face_height,
        below=(150, 80),
        text=lambda f: f"The face is only {_number(f.face_height)} pixels high: it will be soft.",
        advice="Come closer, or record at a higher resolution: 250 pixels from brow to chin are good.",
    ),
    Rule(
        name="length",
        value=_of_video(lambda f: f.seconds),
        below=(3, 1),
        text=lambda f: f"The video is only {_number(f.seconds, '.1f')} seconds long.",
        advice="Record 10 to 60 seconds.",
    ),
    Rule(
        name="missing",
        value=lambda f: f.missing,
        above=(0.1, 0.4),
        text=lambda f: f"No face is seen in {_number(100 * (f.missing or 0))} % of the frames.",
        advice="Keep both eyes in view: turn by no more than 60 degrees, and keep hands away from the face.",
    ),
    Rule(
        name="one view",
        value=lambda f: float(f.frames) if f.kind == "photos" else None,
        below=(2, None),
        text=lambda f: "One picture shows one side: the others will be guessed.",
        advice="Add photos from both sides, or use a video in which the head turns.",
    ),
    Rule(
        name="turning",
        value=_least_turn,
        below=(15, None),
        text=lambda f: (
            f"Little head motion ({_number(max(0.0, f.turned_left or 0))} degrees to the left, "
            f"{_number(max(0.0, f.turned_right or 0))} to the right): the sides will be guessed."
        ),
        advice="Turn the head slowly to both sides, by 30 to 45 degrees.",
    ),
    Rule(
        name="nodding",
        value=_of_video(lambda f: f.nodding),
        below=(8, None),
        text=lambda f: "The head never nods: chin and crown will be guessed.",
        advice="Look up and down once, slowly.",
    ),
    Rule(
        name="mouth",
        value=_of_video(lambda f: f.mouth),
        below=(0.03, None),
        text=lambda f: "The mouth never opens: teeth and the mouth's inside will be guessed.",
        advice="Speak a few sentences, and smile once with open lips.",
    ),
    Rule(
        name="blinking",
        value=_of_video(lambda f: None if f.blinks is None else float(f.blinks), 4),
        below=(1, None),
        text=lambda f: "Nobody blinks: closed lids will be guessed.",
        advice="Blink, and close the eyes once for a second.",
    ),
    Rule(
        name="blur",
        value=lambda f: f.blur,
        above=(0.65, 0.75),
        text=lambda f: "The face is blurry.",
        advice="Wipe the lens, let the camera focus on the face, use more light, and move more slowly.",
    ),
    Rule(
        name="too bright",
        value=lambda f: f.burnt,
        above=(0.02, 0.15),
        text=lambda f: f"The face is over-exposed: {_number(100 * (f.burnt or 0))} % of it is plain white.",
        advice="Turn away from the lamp or the sun, or lower the exposure.",
    ),
    Rule(
        name="too dark",
        value=lambda f: f.brightness,
        below=(70, 40),
        text=lambda f: "The face is too dark: even its bright parts are.",
        advice="Face a window or a lamp; do not stand before one.",
    ),
    Rule(
        name="uneven light",
        value=lambda f: f.unevenness,
        above=(2.5, None),
        text=lambda f: (
            f"The light comes from one side ({_number(f.unevenness, '.1f')} times as much): its shadow will stay."
        ),
        advice="Face the light, or put a second one, or a white wall, on the other side.",
    ),
    Rule(
        name="exposure",
        value=_of_video(lambda f: f.exposure_change),
        above=(1.8, None),
        text=lambda f: "The light on the face changes while recording.",
        advice="Lock the camera's exposure (hold the finger on the face, on most phones), and leave lamps as they are.",
    ),
    Rule(
        name="cut off",
        value=lambda f: f.cut_off,
        above=(0.1, None),
        text=lambda f: f"The picture's edge cuts off {_number(100 * (f.cut_off or 0))} % of the head.",
        advice="Leave room above the hair and on both sides.",
    ),
    Rule(
        name="fit",
        value=lambda f: f.landmark_error,
        above=(0.05, 0.08),
        text=lambda f: "The mesh follows the face badly.",
        advice=f"See {_OVERLAY}: glasses, hands, hair over the eyes and strong blur are the usual reasons.",
    ),
    Rule(
        name="trembling",
        value=_of_video(lambda f: f.jitter),
        above=(3.0, 6.0),
        text=lambda f: "The tracking trembles.",
        advice="Put the camera on a table or a tripod, and use more light.",
    ),
    Rule(
        name="flicker",
        value=_of_video(lambda f: f.flicker),
        above=(0.8, 3.0),
        text=lambda f: "The cut-out flickers: edges of hair and shoulders come and go.",
        advice="Choose a plain, still background of another colour than hair and clothes.",
    ),
    Rule(
        name="silhouette",
        value=lambda f: f.silhouette,
        below=(0.93, 0.85),
        text=lambda f: "The mesh and the person's outline differ.",
        advice=f"See {_OVERLAY}: hats, hoods, big headphones and other things on the head are the usual reasons.",
    ),
    Rule(
        name="people",
        value=lambda f: None if f.people is None else float(f.people),
        above=(1.5, None),
        text=lambda f: f"{f.people} faces are seen at once; one of them is followed.",
        advice="Record one person alone.",
    ),
    Rule(
        name="cuts",
        value=_of_video(lambda f: None if f.cuts is None else float(f.cuts)),
        above=(0.5, None),
        text=lambda f: (
            f"The video is cut {f.cuts} time{'' if f.cuts == 1 else 's'}: light and place may differ after a cut."
        ),
        advice="Use one uncut take.",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """The grade and its reasons, the weightiest first."""

    grade: Grade
    reasons: tuple[Reason, ...]
    facts: Facts

    def report(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "grade": self.grade,
            "reasons": [asdict(reason) for reason in self.reasons],
            "measured": self.facts.report(),
        }


def grade_recording(facts: Facts) -> Verdict:
    """As good as the worst of its reasons."""
    reasons = [reason for rule in RULES if (reason := rule.judge(facts)) is not None]
    reasons.sort(key=lambda reason: -GRADES.index(reason.grade))
    grade = reasons[0].grade if reasons else "good"
    return Verdict(grade, tuple(reasons), facts)
