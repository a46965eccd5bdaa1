"""The live server, by real connections: drivers, watchers, and those who mean no good."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("websockets", reason="the package websockets (extra web) is missing")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from spatialavatar.drive import live_protocol
from spatialavatar.drive.live_protocol import Frame, frame_message
from spatialavatar.errors import UserError
from spatialavatar.view import live_server
from spatialavatar.view.live_server import MOST_CLIENTS, MOST_ERRORS, LiveServer
from tests.synthetic import painted_avatar

PAGE_PORT = 8760


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    server = LiveServer(painted_avatar(16), "me", port=0, page_port=PAGE_PORT)
    server.start()
    yield server
    server.close()


@contextlib.contextmanager
def client(server: LiveServer, **options: Any) -> Iterator[Any]:
    """A connection whose welcome has been read."""
    with connect(server.address, compression=None, proxy=None, **options) as connection:
        connection.welcome = json.loads(connection.recv(timeout=5))
        yield connection


def answer(connection: Any, timeout: float = 5) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(connection.recv(timeout=timeout))
    return result


def jaw(value: float, sequence: int | None = None) -> str:
    content: dict[str, object] = {"type": "frame", "weights": {"jawOpen": value}}
    return json.dumps(content if sequence is None else {**content, "sequence": sequence})


def opened(motion: dict[str, Any], names: list[str]) -> float:
    return float(motion["expression"][names.index("jawOpen")])


def test_the_welcome_says_what_is_driven(server: LiveServer) -> None:
    with client(server) as driver:
        assert driver.welcome["type"] == "welcome" and driver.welcome["protocol"] == 1
        assert driver.welcome["avatar"] == "me" and len(driver.welcome["expression_names"]) == 52


def test_a_frame_becomes_a_motion_for_every_watcher(server: LiveServer) -> None:
    with client(server) as driver, client(server) as first, client(server) as second:
        for watcher in (first, second):
            watcher.send('{"type":"watch"}')
        time.sleep(0.1)
        driver.send(jaw(0.5))
        for watcher in (first, second):
            motion = answer(watcher)
            assert motion["type"] == "motion"
            assert opened(motion, watcher.welcome["expression_names"]) == pytest.approx(0.5)
        with pytest.raises(TimeoutError):
            driver.recv(timeout=0.05)


def test_a_client_may_drive_and_watch_and_be_calibrated(server: LiveServer) -> None:
    with client(server) as both:
        both.send('{"type":"watch"}')
        names = both.welcome["expression_names"]
        both.send(jaw(0.2))
        assert opened(answer(both), names) == pytest.approx(0.2)
        both.send('{"type":"neutral"}')
        both.send(jaw(0.6))
        assert opened(answer(both), names) == pytest.approx(0.5)
        both.send('{"type":"neutral","clear":true}')
        both.send(jaw(0.6))
        assert opened(answer(both), names) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("nonsense", "bad_json"),
        (b"\x00\x01\x02", "bad_json"),
        ('{"type":"frame","weights":{"jawOpen":NaN}}', "bad_json"),
        ('{"type":"frame","weights":{"jawOpen":"x"},"sequence":4}', "bad_value"),
        ('{"type":"format_disk"}', "unknown_type"),
        ("x" * 20_000, "too_large"),
        ("[" * 10_000, "bad_json"),
    ],
)
def test_bad_messages_are_answered_and_the_next_good_one_works(
    server: LiveServer, message: str | bytes, code: str
) -> None:
    with client(server) as driver:
        driver.send('{"type":"watch"}')
        driver.send(message)
        error = answer(driver)
        assert error["type"] == "error" and error["code"] == code and error["message"]
        driver.send(jaw(0.25))
        assert opened(answer(driver), driver.welcome["expression_names"]) == pytest.approx(0.25)


def test_a_huge_message_ends_only_its_own_connection(server: LiveServer) -> None:
    with client(server) as other:
        with client(server) as driver, pytest.raises(ConnectionClosed) as closed:
            driver.send("x" * (2**20 + 1))
            driver.recv(timeout=5)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
        other.send("?")
        assert answer(other)["code"] == "bad_json"


def test_endless_nonsense_is_cut_off(server: LiveServer) -> None:
    with client(server) as driver:
        codes = []
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(MOST_ERRORS + 5):
                driver.send("{}")
                codes.append(answer(driver)["code"])
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        assert len(codes) >= MOST_ERRORS - 1 and set(codes) == {"unknown_type"}


def test_too_fast_is_said_once_and_the_rest_dropped(server: LiveServer) -> None:
    with client(server) as driver:
        began = time.perf_counter()
        for index in range(2000):
            driver.send(jaw(index / 2000))
        errors = [answer(driver)]
        motion = None
        while motion is None:
            # Again and again: a busy server still reads the flood, and drops this with it.
            time.sleep(0.3)
            driver.send('{"type":"watch"}')
            driver.send(jaw(0.75))
            with contextlib.suppress(TimeoutError):
                while motion is None:
                    message = answer(driver, timeout=0.5)
                    if message["type"] == "motion":
                        motion = message
                    else:
                        errors.append(message)
            seconds = time.perf_counter() - began
            assert seconds < 60
        # One a second, and one more.
        assert len(errors) <= seconds + 2 and {error["code"] for error in errors} == {"too_fast"}
        # The first is from the flood where its last frame was not used yet.
        assert 0 < opened(motion, driver.welcome["expression_names"]) <= 1


def test_a_slow_watcher_gets_the_newest_and_nothing_queues_up(server: LiveServer) -> None:
    # This client takes one message and then reads nothing: its own library holds one more, and acknowledges it.
    with client(server) as driver, client(server, max_queue=1) as slow:
        slow.send('{"type":"watch"}')
        time.sleep(0.1)
        sent = 100
        for index in range(sent):
            driver.send(jaw((index + 1) / sent))
            time.sleep(0.01)
        time.sleep(0.3)
        seen = []
        with contextlib.suppress(TimeoutError):
            while True:
                seen.append(opened(answer(slow, timeout=0.5), slow.welcome["expression_names"]))
        assert len(seen) < 10, f"{len(seen)} motions had queued up"
        assert seen == sorted(seen) and seen[-1] == pytest.approx(1.0), "the last one is the newest"


def test_a_watcher_that_takes_nothing_is_dropped_and_others_go_on(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_server, "PATIENCE", 1.0)
    monkeypatch.setattr(live_server, "_FAREWELL", 0.1)
    with client(server) as driver, client(server) as good:
        # Shakes hands, asks to watch, and never reads a byte.
        deaf = socket.create_connection(("127.0.0.1", server.port))
        request = f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
        request += "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        deaf.sendall((request + "\r\n").encode())
        text = b'{"type":"watch"}'
        deaf.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        good.send('{"type":"watch"}')
        time.sleep(0.2)
        latest: list[float] = []

        def watch() -> None:
            with contextlib.suppress(TimeoutError):
                while True:
                    latest.append(opened(answer(good, timeout=1), good.welcome["expression_names"]))

        reader = threading.Thread(target=watch)
        reader.start()
        for index in range(60):
            driver.send(jaw((index + 1) / 60))
            time.sleep(0.02)
        reader.join()
        # On an idle machine all sixty; a busy one passes frames over, never the last.
        assert latest[-1] == pytest.approx(1.0) and len(latest) >= 3, f"the other one got {len(latest)}"
        deaf.settimeout(10)
        received = b""
        with contextlib.suppress(OSError):
            while part := deaf.recv(65536):
                received += part
        assert received.count(b'"type":"motion"') <= 2, "and little was sent to the one that does not answer"
        deaf.close()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/live", {"Origin": "http://evil.example"}, 403),
        ("/live", {"Origin": "https://127.0.0.1:8760"}, 403),
        ("/live", {"Origin": "http://127.0.0.1:3000"}, 403),
        ("/live", {"Origin": "null"}, 403),
        ("/live", {"Origin": "http://127.0.0.1:99999999"}, 403),
        ("/live", {"Host": "evil.example:8765"}, 403),
        ("/other", {}, 404),
        ("/live/../etc/passwd", {}, 404),
    ],
)
def test_strangers_are_refused(server: LiveServer, path: str, headers: dict[str, str], status: int) -> None:
    lines = {"Host": f"127.0.0.1:{server.port}", **headers}
    request = f"GET {path} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    request += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    request += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
        raw.sendall((request + "\r\n").encode())
        assert raw.recv(4096).split(b" ")[1] == str(status).encode()


def test_the_viewers_own_page_may_connect(server: LiveServer) -> None:
    for host in ("127.0.0.1", "localhost"):
        with client(server, origin=f"http://{host}:{PAGE_PORT}") as page:
            assert page.welcome["type"] == "welcome"


def test_a_token_is_needed_where_one_was_given() -> None:
    server = LiveServer(painted_avatar(16), port=0, token="secret")
    server.start()
    try:
        bare = server.address.partition("?")[0]
        for address in (bare, bare + "?token=wrong", bare + "?token="):
            with pytest.raises(InvalidStatus) as refused, connect(address, proxy=None):
                pass
            assert refused.value.response.status_code == 401
        with client(server) as driver:
            assert driver.welcome
        with connect(bare, proxy=None, additional_headers={"Authorization": "Bearer secret"}) as driver:
            assert answer(driver)["type"] == "welcome"
    finally:
        server.close()


def test_other_addresses_than_this_machines_own_get_a_token() -> None:
    server = LiveServer(painted_avatar(16), host="0.0.0.0", port=0)
    assert len(server.token) >= 20 and server.address.endswith(f"/live?token={server.token}")


def test_too_many_clients_are_turned_away(server: LiveServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_CLIENTS):
            stack.enter_context(client(server))
        with pytest.raises(InvalidStatus) as refused, connect(server.address, proxy=None):
            pass
        assert refused.value.response.status_code == 503
    time.sleep(0.2)
    with client(server) as driver:
        assert driver.welcome, "there is room again"


def test_a_taken_port_is_one_message(server: LiveServer) -> None:
    with pytest.raises(UserError, match="cannot be listened on"):
        LiveServer(painted_avatar(16), port=server.port).start()


def test_clients_that_vanish_leave_nothing_behind(server: LiveServer, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        raw = socket.create_connection(("127.0.0.1", server.port))
        raw.sendall(b"GET /live HTT")
        raw.close()
        with client(server) as driver:
            driver.send('{"type":"watch"}')
            driver.send(jaw(0.1))
    with client(server) as driver:
        assert driver.welcome
    time.sleep(0.2)
    assert capfd.readouterr().err == "", "nor is the terminal told"


def test_thirty_frames_a_second_arrive_in_time(server: LiveServer) -> None:
    with client(server) as both:
        both.send('{"type":"watch"}')
        delays = []
        for index in range(30):
            began = time.perf_counter()
            both.send(frame_message(Frame((index / 30,) * 52, (0.1, 0.0, 0.0), (0.0,) * 4)))
            answer(both)
            delays.append(time.perf_counter() - began)
        # A few milliseconds where the machine is free; a queue would show as delays that grow, on a busy one too.
        assert sorted(delays)[15] < 0.2, f"median {1000 * sorted(delays)[15]:.1f} ms"


def test_the_documented_limits_are_the_real_ones() -> None:
    from pathlib import Path

    text = (Path(__file__).parent.parent.parent / "docs" / "live.md").read_text()
    assert f"{live_protocol.MOST_PER_SECOND} messages in a second" in text
    assert f"{live_protocol.LARGEST_MESSAGE // 1024} KiB" in text and f"At most {MOST_CLIENTS} clients" in text
    assert f"{MOST_ERRORS} errors in a row" in text and f":{live_protocol.DEFAULT_PORT}/live" in text
