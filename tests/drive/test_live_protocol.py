"""The messages of live driving: what is read, and what is answered to everything else."""

import json
import math
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialavatar.drive.live import LivePuppet, beyond, frames_of_recording
from spatialavatar.drive.live_link import Packet, read_packet, write_packet
from spatialavatar.drive.live_protocol import (
    LARGEST_MESSAGE,
    Frame,
    Neutral,
    ProtocolError,
    RateLimit,
    Watch,
    frame_message,
    motion_message,
    parse_message,
)
from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.drive.retarget import retarget
from spatialavatar.drive.show import expression_reel
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from tests.synthetic import painted_avatar

NOTHING = (0.0,) * 52
JAW = ARKIT_NAMES.index("jawOpen")


def weights(**given: float) -> tuple[float, ...]:
    return tuple(given.get(name, 0.0) for name in ARKIT_NAMES)


def test_a_frame_is_read() -> None:
    text = '{"type":"frame","sequence":17,"weights":{"jawOpen":0.5,"TongueOut":2},"head":[0.1,0.2,0.3]}'
    frame = parse_message(text)
    assert frame == Frame(weights(jawOpen=0.5, tongueOut=1.0), (0.1, 0.2, 0.3), None, 17)
    assert parse_message(json.dumps({"type": "frame", "weights": [0.0] * 51 + [1]})) == Frame(weights(tongueOut=1.0))
    assert parse_message('{"type":"watch"}') == Watch()
    assert parse_message('{"type":"neutral","clear":true}') == Neutral(True)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("hello", "bad_json", "is no JSON"),
        ("", "bad_json", "is no JSON"),
        ("[1, 2]", "bad_json", "no JSON object"),
        ("[" * 5000, "bad_json", "is no JSON"),
        (b"\x00\x01", "bad_json", "binary"),
        ('{"type":"frame","weights":{"jawOpen":NaN}}', "bad_json", "NaN is no JSON number"),
        ('{"type":"frame","weights":{"jawOpen":1e999}}', "bad_value", "weights.jawOpen is"),
        ('{"type":"dance"}', "unknown_type", 'type is "dance"; expected frame, neutral, watch'),
        ("{}", "unknown_type", "type is null"),
        ('{"type":["frame"]}', "unknown_type", "type is"),
        ('{"type":"frame"}', "missing_key", "needs the key weights"),
        ('{"type":"frame","weights":{"jawOpne":1}}', "unknown_name", "Did you mean jawOpen?"),
        ('{"type":"frame","weights":{"jawOpen":"wide"}}', "bad_value", 'weights.jawOpen is "wide"; expected a number'),
        ('{"type":"frame","weights":{"jawOpen":true}}', "bad_value", "weights.jawOpen is true"),
        ('{"type":"frame","weights":{"jawOpen":null}}', "bad_value", "weights.jawOpen is null"),
        ('{"type":"frame","weights":{"jawOpen":' + "9" * 400 + "}}", "bad_value", "weights.jawOpen is"),
        ('{"type":"frame","weights":[0, 1]}', "bad_value", "weights is a list of 2; expected 52 numbers"),
        ('{"type":"frame","weights":7}', "bad_value", "weights is 7"),
        ('{"type":"frame","weights":{},"head":[0,0]}', "bad_value", "head is a list of 2; expected 3"),
        ('{"type":"frame","weights":{},"eyes":{"left":1}}', "bad_value", "eyes is"),
        ('{"type":"frame","weights":{},"head":[0,0,1e6]}', "bad_value", "head[2] is 1000000.0"),
        ('{"type":"frame","weights":{},"sequence":1.5}', "bad_value", "sequence is 1.5"),
        ('{"type":"neutral","clear":"yes"}', "bad_value", "clear is"),
        ('{"type":"frame","weights":{},"note":"' + "x" * LARGEST_MESSAGE + '"}', "too_large", "16384 bytes"),
    ],
)
def test_nonsense_is_named(text: str | bytes, code: str, message: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        parse_message(text)
    assert raised.value.code == code and message in raised.value.text, raised.value.text
    answer = json.loads(raised.value.message())
    assert answer["type"] == "error" and answer["code"] == code and len(raised.value.message()) < 500


def test_an_error_names_its_frame() -> None:
    with pytest.raises(ProtocolError) as raised:
        parse_message('{"type":"frame","sequence":9,"weights":{"jawOpen":[]}}')
    assert json.loads(raised.value.message())["sequence"] == 9


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*ARKIT_NAMES, "type", "weights"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["type", "weights", "head", "eyes", "sequence", "clear"]), json_values))
def test_whatever_comes_it_is_read_or_refused(content: dict[str, object]) -> None:
    for kind in (content.get("type"), "frame"):
        try:
            message = parse_message(json.dumps({**content, "type": kind}))
        except ProtocolError:
            continue
        if isinstance(message, Frame):
            assert all(0 <= weight <= 1 for weight in message.weights) and all(map(math.isfinite, message.head))


def test_frames_survive_their_text() -> None:
    frame = Frame(weights(jawOpen=0.25, cheekPuff=1.0), (0.1, -0.2, 0.3), (0.0, 0.1, 0.0, -0.1), 3)
    assert parse_message(frame_message(frame)) == frame
    assert len(frame_message(Frame((0.12345,) * 52))) < 2000


def test_the_rate_limit_lets_a_burst_through_and_then_the_rate() -> None:
    limit = RateLimit(10)
    assert sum(limit.admits(0.0) for _ in range(50)) == 10
    assert sum(limit.admits(1.0 + index / 1000) for index in range(50)) == 10
    steady = RateLimit(10)
    assert all(steady.admits(index / 9.5) for index in range(200))


def test_live_frames_move_the_avatar_as_the_recording_does() -> None:
    avatar = painted_avatar(16)
    reel = expression_reel().frames(0, None, 10)
    whole = retarget(reel, avatar)
    puppet = LivePuppet(avatar)
    for index, frame in enumerate(frames_of_recording(reel)):
        live = puppet.motion(frame)
        # Angles through yaw, pitch and roll, float32. The reel opens the jaw's joint too, which ARKit does not know.
        for name in ("expression", "global_rotation", "neck_rotation", "eyes_rotation", "translation"):
            torch.testing.assert_close(getattr(live, name), getattr(whole[index], name), atol=2e-5, rtol=0)


def test_the_neutral_face_is_taken_out() -> None:
    avatar = painted_avatar(16)
    neutral = Frame(weights(jawOpen=0.2, eyeBlinkLeft=0.1), (0.2, -0.1, 0.05))
    puppet = LivePuppet(avatar)
    puppet.neutral = neutral
    rest = puppet.motion(neutral)
    torch.testing.assert_close(rest.expression, torch.zeros(1, 52))
    # Rotations there and back.
    torch.testing.assert_close(avatar.vertices(rest), avatar.vertices(avatar.rest), atol=1e-6, rtol=0)
    wide = puppet.motion(Frame(weights(jawOpen=1.0, eyeBlinkLeft=0.1), (0.6, -0.1, 0.05)))
    names = avatar.head.expression_names
    assert float(wide.expression[0, names.index("jawOpen")]) == pytest.approx(1.0), "all of it is still all of it"
    turned = rotation_matrix_from_axis_angle(wide.global_rotation) @ rotation_matrix_from_axis_angle(wide.neck_rotation)
    rested = rotation_matrix_from_axis_angle(rest.global_rotation) @ rotation_matrix_from_axis_angle(rest.neck_rotation)
    angle = torch.acos(((turned @ rested.mT).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2)
    # A hundredth of a radian: arc cosines are coarse, and a pitched head yaws a little less than its angle says.
    assert float(angle) == pytest.approx(0.4, abs=1e-2), "the head turns by what the driver's turned"


def test_beyond_a_weight_that_is_always_there() -> None:
    frame = beyond(Frame(weights(jawOpen=0.6, mouthClose=1.0)), Frame(weights(jawOpen=0.2, mouthClose=0.99)))
    assert frame.weights[JAW] == pytest.approx(0.5)
    assert frame.weights[ARKIT_NAMES.index("mouthClose")] == 0, "no division by nearly nothing"


def test_eyes_follow_the_weights_where_no_angles_are_sent() -> None:
    puppet = LivePuppet(painted_avatar(16))
    looking = Frame(weights(eyeLookOutLeft=1.0, eyeLookInRight=1.0))
    assert float(puppet.motion(looking).eyes_rotation[0, 1]) > 0.4, "to the left"
    puppet.neutral = Frame(NOTHING, eyes=(0.1, 0.0, 0.1, 0.0))
    moved = puppet.motion(Frame(NOTHING, eyes=(0.3, 0.0, 0.3, 0.0))).eyes_rotation
    assert float(moved[0, 1]) == pytest.approx(0.2, abs=1e-5)


def test_a_motion_message_has_the_keys_of_a_motion() -> None:
    avatar = painted_avatar(16)
    content = json.loads(motion_message(avatar.rest, 5))
    assert content["type"] == "motion" and content["frame"] == 5 and len(content["expression"]) == 52
    assert len(content["eyes_rotation"]) == 6
    assert content["translation"] == pytest.approx(avatar.rest.translation[0].tolist(), abs=1e-5)


def phone_packet() -> bytes:
    """By hand, byte by byte."""
    content = b"\x06" + b"\x00\x00\x00\x04" + b"ID-1" + b"\x00\x00\x00\x05" + "Zoé".encode() + b"\0"
    content += struct.pack(">i", 1234) + struct.pack(">f", 0.5) + struct.pack(">i", 60) + struct.pack(">i", 1)
    values = [0.0] * 61
    values[JAW] = 0.5
    values[52:55] = [0.1, 0.2, 0.3]
    values[55:61] = [0.4, 0.5, 9.0, 0.6, 0.7, 9.0]
    return content + b"\x3d" + struct.pack(">61f", *values)


def test_a_phones_packet() -> None:
    packet = read_packet(phone_packet())
    assert packet is not None and packet.frame is not None
    assert (packet.device, packet.subject, packet.rate) == ("ID-1", "Zoé", 60.0)
    assert packet.frame.weights[JAW] == 0.5 and packet.frame.sequence == 1234
    assert packet.frame.head == pytest.approx((0.1, 0.2, 0.3))
    assert packet.frame.eyes == pytest.approx((0.4, 0.5, 0.6, 0.7)), "roll is left out"


def test_packets_there_and_back() -> None:
    frame = Frame(weights(jawOpen=0.5), (0.25, 0.5, -0.5), (0.5, 0.25, 0.5, 0.25), 7)
    packet = Packet("device", "me", 30.0, frame)
    assert read_packet(write_packet(packet, 7)) == packet
    lost = Packet("device", "me", 30.0, None)
    assert read_packet(write_packet(lost)) == lost, "no face in view"


def test_what_is_no_packet_is_nothing() -> None:
    whole = phone_packet()
    for length in range(len(whole)):
        found = read_packet(whole[:length])
        assert found is None or found.frame is None
    assert read_packet(b"\x05" + whole[1:]) is None
    assert read_packet(whole + b"\0") is None
    assert read_packet(whole[:1] + b"\x7f\xff\xff\xff" + whole[5:]) is None
    assert read_packet(whole[:-4] + struct.pack(">f", math.nan)) is None
    assert read_packet(b"") is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_noise_never_raises(content: bytes) -> None:
    read_packet(content)
    read_packet(b"\x06" + content)
