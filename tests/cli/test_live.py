"""`live`: a take and packets of a phone, sent to a live server."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("websockets", reason="the package websockets (extra web) is missing")

from websockets.sync.client import connect

from spatialavatar.cli.live import Live, _in_real_time, _newest_packets, _plain
from spatialavatar.cli.main import main
from spatialavatar.cli.run import BAD_INPUT, OK
from spatialavatar.drive.live_link import Packet, write_packet
from spatialavatar.drive.live_protocol import Frame
from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.view.live_server import LiveServer
from tests.drive.sources import live_link_table
from tests.synthetic import painted_avatar

JAW = ARKIT_NAMES.index("jawOpen")


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    server = LiveServer(painted_avatar(16), port=0)
    server.start()
    yield server
    server.close()


def watched(server: LiveServer, opened: list[float]) -> threading.Thread:
    """Keeps how far the mouth is open in every motion that arrives, until none comes for a while."""

    def watch() -> None:
        with connect(server.address, proxy=None) as socket_, contextlib.suppress(TimeoutError):
            names = json.loads(socket_.recv(timeout=5))["expression_names"]
            socket_.send('{"type":"watch"}')
            ready.set()
            while True:
                patience = 3 if opened else 30
                opened.append(json.loads(socket_.recv(timeout=patience))["expression"][names.index("jawOpen")])

    ready = threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    ready.wait(5)
    time.sleep(0.1)
    return thread


def test_a_take_is_played_in_real_time(server: LiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live_link_table(tmp_path / "take.csv", [{"JawOpen": index / 20} for index in range(20)])
    opened: list[float] = []
    watcher = watched(server, opened)
    began = time.perf_counter()
    arguments = ["live", str(tmp_path / "take.csv"), "--to", server.address, "--frame-rate", "40"]
    assert main(arguments) == OK
    assert time.perf_counter() - began > 0.4, "twenty frames at forty a second"
    watcher.join()
    assert opened == sorted(opened) and len(opened) >= 1 and opened[-1] > 0, "a busy machine passes frames over"
    assert "frames to ws://127.0.0.1" in capsys.readouterr().out


def test_late_frames_are_passed_over() -> None:
    frames = [Frame((index / 100,) * 52) for index in range(100)]
    player = _in_real_time(frames, 1000.0, again=False)
    seen = []
    for frame in player:
        assert frame is not None
        seen.append(frame.weights[0])
        time.sleep(0.02)
    assert 1 <= len(seen) < 20 and seen == sorted(seen), "fifty to the second instead of a thousand"


def test_the_newest_of_a_phones_packets_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        for index in range(5):
            weights = tuple(index / 10 if k == JAW else 0.0 for k in range(52))
            packet = write_packet(Packet("id", "Zoé", 60.0, Frame(weights)))
            phone.sendto(packet, receiver.getsockname())
        phone.sendto(b"noise", receiver.getsockname())
        time.sleep(0.1)
        packets = _newest_packets(receiver, "")
        frame = next(packets)
        assert frame is not None and frame.weights[JAW] == pytest.approx(0.4)
        assert next(packets) is None, "nothing more came"
        assert "Zoé" in capsys.readouterr().out
        phone.sendto(packet, receiver.getsockname())
        packets.close()


def test_a_name_from_the_network_does_nothing_to_the_terminal() -> None:
    assert _plain("[red]me\x1b[2J\n") == "[red]me\\x1b[2J\\x0a"
    assert len(_plain("x" * 300)) == 40


def test_other_senders_are_ignored() -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.sendto(write_packet(Packet("id", "me", 60.0, Frame((1.0,) * 52))), receiver.getsockname())
        packets = _newest_packets(receiver, "10.0.0.9")
        assert next(packets) is None
        packets.close()


def test_the_first_sender_keeps_the_avatar(capsys: pytest.CaptureFixture[str]) -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(1)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        try:
            other.bind(("127.0.0.2", 0))
        except OSError:
            pytest.skip("this system has one loopback address")
        other.sendto(b"noise", receiver.getsockname())  # chooses nobody
        for sender, weight in ((phone, 0.25), (other, 1.0), (phone, 0.5), (other, 1.0)):
            sender.sendto(write_packet(Packet("id", "me", 60.0, Frame((weight,) * 52))), receiver.getsockname())
        time.sleep(0.1)
        packets = _newest_packets(receiver, "")
        frame = next(packets)
        assert frame is not None and frame.weights[JAW] == pytest.approx(0.5)
        packets.close()
    told = capsys.readouterr()
    assert "Driver:   me (127.0.0.1)" in told.out
    assert told.err.count("127.0.0.2 sends too and is ignored") == 1


def test_a_flood_does_not_keep_the_frames_back() -> None:
    class Flood:
        """A socket with a packet whenever it is asked."""

        content = write_packet(Packet("id", "me", 60.0, Frame((0.5,) * 52)))

        def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
            return self.content, ("10.0.0.9", 1)

        def __enter__(self) -> "Flood":
            return self

        def __exit__(self, *error: object) -> None: ...

        def setblocking(self, value: bool) -> None: ...

        def settimeout(self, value: float) -> None: ...

    packets = _newest_packets(Flood(), "")  # type: ignore[arg-type]
    assert next(packets) is not None and next(packets) is not None
    packets.close()


def test_the_servers_complaints_are_shown(
    server: LiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    live_link_table(tmp_path / "take.csv", [{}, {}, {}])
    from spatialavatar.drive import live_protocol

    monkeypatch.setattr(live_protocol, "frame_message", lambda frame: '{"type":"frame"}')
    assert main(["live", str(tmp_path / "take.csv"), "--to", server.address, "--frame-rate", "10"]) == OK
    assert "the server says: a frame needs the key weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "none.csv: there is no such file"),
        (["take.csv", "--to", "http://127.0.0.1"], "expected an address such as ws://"),
        (["take.csv", "--to", "ws://127.0.0.1:1/live"], "there is no live server"),
        (["udp:99999"], "is no port"),
        (["udp:x"], "is no port"),
        (["take.csv", "--frame-rate", "-1"], "--frame-rate is -1.0"),
    ],
)
def test_bad_input_is_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    live_link_table(tmp_path / "take.csv", [{}, {}])
    assert main(["live", *arguments]) == BAD_INPUT
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err


def test_a_taken_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        assert main(["live", f"udp:{other.getsockname()[1]}"]) == BAD_INPUT
    assert "cannot be listened on" in capsys.readouterr().err


def test_the_default_address_is_the_servers_default() -> None:
    from spatialavatar.drive.live_protocol import DEFAULT_PORT, PATH

    assert Live(source="take.csv").to == f"ws://127.0.0.1:{DEFAULT_PORT}{PATH}"
