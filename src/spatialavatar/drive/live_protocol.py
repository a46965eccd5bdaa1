"""The messages of live driving, and what is wrong with one (docs/live.md)."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.head.motion import Motion

PROTOCOL = 1
LARGEST_MESSAGE = 16 * 1024
"""Bytes. A frame with all names takes 2 kB."""
MOST_PER_SECOND = 120
DEFAULT_PORT = 8765
PATH = "/live"

_INDEX = {name.lower(): index for index, name in enumerate(ARKIT_NAMES)}
_TYPES = ("frame", "neutral", "watch")


@dataclass(frozen=True)
class Frame:
    """What a driver's face does at one moment.

    weights: 52 numbers in ARKit's order, 0 to 1.
    head: Yaw, pitch, roll in radians.
    eyes: Left yaw, left pitch, right yaw, right pitch in radians; None where they follow the eyeLook weights.
    sequence: The sender's number of it.
    """

    weights: tuple[float, ...]
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    eyes: tuple[float, float, float, float] | None = None
    sequence: int | None = None


@dataclass(frozen=True)
class Neutral:
    """Take the newest frame for the driver's neutral face, or forget it."""

    clear: bool = False


@dataclass(frozen=True)
class Watch:
    """The sender wants the motions."""


Message = Frame | Neutral | Watch


class ProtocolError(Exception):
    """A message that cannot be used.

    code: One of the table in docs/live.md.
    """

    def __init__(self, code: str, text: str, sequence: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.sequence = sequence

    def message(self) -> str:
        """The answer to the sender."""
        answer: dict[str, object] = {"type": "error", "code": self.code, "message": self.text}
        if self.sequence is not None:
            answer["sequence"] = self.sequence
        return json.dumps(answer)


def parse_message(raw: str | bytes) -> Message:
    """Read a message of a client.

    Raises:
        ProtocolError: What is wrong with it.
    """
    if not isinstance(raw, str):
        raise ProtocolError("bad_json", "this message is binary; expected a JSON text.")
    if len(raw.encode("utf-8", "replace")) > LARGEST_MESSAGE:
        raise ProtocolError("too_large", f"this message has more than {LARGEST_MESSAGE} bytes; it was not read.")
    try:
        content = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ProtocolError("bad_json", f"this message is no JSON ({reason}).") from None
    if not isinstance(content, dict):
        raise ProtocolError("bad_json", "this message is no JSON object.")
    sequence = _sequence(content)
    kind = content.get("type")
    if kind == "frame":
        return _frame(content, sequence)
    if kind == "neutral":
        clear = content.get("clear", False)
        if not isinstance(clear, bool):
            raise ProtocolError("bad_value", f"clear is {_shown(clear)}; expected true or false.", sequence)
        return Neutral(clear)
    if kind == "watch":
        return Watch()
    raise ProtocolError("unknown_type", f"type is {_shown(kind)}; expected {', '.join(_TYPES)}.", sequence)


def frame_message(frame: Frame) -> str:
    """A frame as its JSON text, weights of zero left out."""
    content: dict[str, object] = {"type": "frame"}
    if frame.sequence is not None:
        content["sequence"] = frame.sequence
    content["weights"] = {
        name: round(weight, 5) for name, weight in zip(ARKIT_NAMES, frame.weights, strict=True) if weight
    }
    content["head"] = [round(angle, 5) for angle in frame.head]
    if frame.eyes is not None:
        content["eyes"] = [round(angle, 5) for angle in frame.eyes]
    return json.dumps(content, separators=(",", ":"))


def motion_message(motion: Motion, number: int) -> str:
    """One frame of motion for a watcher."""
    parts = ("expression", "global_rotation", "neck_rotation", "jaw_rotation", "eyes_rotation")
    content: dict[str, object] = {"type": "motion", "frame": number}
    # Five digits: a hundredth of a millimetre, a thousandth of a degree.
    for name in (*parts, "translation", "neck_translation"):
        content[name] = [round(value, 5) for value in getattr(motion, name)[0].tolist()]
    return json.dumps(content, separators=(",", ":"))


def welcome_message(name: str, edition: str, expression_names: tuple[str, ...]) -> str:
    """What a client gets first."""
    content = {
        "type": "welcome",
        "protocol": PROTOCOL,
        "avatar": name,
        "head_edition": edition,
        "expression_names": list(expression_names),
        "frames_per_second": MOST_PER_SECOND,
        "largest_message": LARGEST_MESSAGE,
    }
    return json.dumps(content)


class RateLimit:
    """Lets `per_second` messages through in a second, in bursts of no more."""

    def __init__(self, per_second: float = MOST_PER_SECOND) -> None:
        self._rate = per_second
        self._left = per_second
        self._before: float | None = None

    def admits(self, now: float) -> bool:
        """Whether a message at the time `now` (seconds) is within the limit."""
        passed = 0.0 if self._before is None else max(0.0, now - self._before)
        self._before = now
        self._left = min(self._rate, self._left + passed * self._rate)
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _frame(content: Mapping[str, Any], sequence: int | None) -> Frame:
    if "weights" not in content:
        raise ProtocolError("missing_key", "a frame needs the key weights.", sequence)
    head = content.get("head")
    eyes = content.get("eyes")
    return Frame(
        weights=_weights(content["weights"], sequence),
        head=(0.0, 0.0, 0.0) if head is None else _numbers(head, 3, "head", sequence),  # type: ignore[arg-type]
        eyes=None if eyes is None else _numbers(eyes, 4, "eyes", sequence),  # type: ignore[arg-type]
        sequence=sequence,
    )


def _weights(given: Any, sequence: int | None) -> tuple[float, ...]:
    if isinstance(given, dict):
        weights = [0.0] * len(ARKIT_NAMES)
        for name, value in given.items():
            index = _INDEX.get(name.lower())
            if index is None:
                close = difflib.get_close_matches(name[:40], ARKIT_NAMES, n=1)
                hint = f" Did you mean {close[0]}?" if close else ""
                raise ProtocolError("unknown_name", f"{_shown(name)} is none of ARKit's weights.{hint}", sequence)
            weights[index] = _number(value, f"weights.{ARKIT_NAMES[index]}", sequence)
    else:
        weights = list(_numbers(given, len(ARKIT_NAMES), "weights", sequence))
    return tuple(min(1.0, max(0.0, weight)) for weight in weights)


def _numbers(given: Any, count: int, name: str, sequence: int | None) -> tuple[float, ...]:
    if not isinstance(given, list) or len(given) != count:
        found = f"a list of {len(given)}" if isinstance(given, list) else _shown(given)
        raise ProtocolError("bad_value", f"{name} is {found}; expected {count} numbers.", sequence)
    return tuple(_number(value, f"{name}[{index}]", sequence) for index, value in enumerate(given))


def _number(value: Any, name: str, sequence: int | None) -> float:
    number = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    # A turn by a thousand radians is no turn either.
    if not abs(number) <= 1000:
        raise ProtocolError("bad_value", f"{name} is {_shown(value)}; expected a number.", sequence)
    return number


def _sequence(content: Mapping[str, Any]) -> int | None:
    sequence = content.get("sequence")
    if sequence is None:
        return None
    if not isinstance(sequence, int) or isinstance(sequence, bool) or abs(sequence) >= 2**53:
        raise ProtocolError("bad_value", f"sequence is {_shown(sequence)}; expected a whole number.")
    return sequence


def _shown(value: Any) -> str:
    """A value as JSON, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
