"""Who gets what from the local server."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import load_avatar, save_avatar
from spatialavatar.errors import UserError
from spatialavatar.view import server as server_module
from spatialavatar.view.server import Site, ViewServer, is_local, make_site, shown_host
from tests.view.avatars import varied_avatar

Answer = tuple[int, bytes, http.client.HTTPMessage]


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return varied_avatar(48)


@pytest.fixture(scope="module")
def site(avatar: Avatar) -> Site:
    return make_site([("me", avatar)], opener=load_avatar)


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[ViewServer]:
    running = ViewServer(site, port=0)
    running.start()
    yield running
    running.close()


def ask(
    server: ViewServer, path: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    answer = response.status, response.read(), response.headers
    connection.close()
    return answer


def test_the_page_and_its_avatar(server: ViewServer, site: Site) -> None:
    status, page, headers = ask(server, "/")
    assert status == 200 and b"avatars/0" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ask(server, "/avatars/0")[:2] == (200, site.packets[0])


@pytest.mark.parametrize(
    "path",
    ["/avatars/1", "/avatars/-1", "/avatars/", "/avatars/0/", "/../pyproject.toml", "/etc/passwd",
     "//etc/passwd", "/%2e%2e/", "/open", "/avatars/99999999999999999999"],
)  # fmt: skip
def test_nothing_else_is_served(server: ViewServer, path: str) -> None:
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1.evil.example:{port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/avatars/0"])
def test_other_pages_are_refused(server: ViewServer, headers: dict[str, str], path: str) -> None:
    filled = {name: value.replace("{port}", str(server.port)) for name, value in headers.items()}
    assert ask(server, path, headers=filled)[0] == 403


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}"])
def test_the_own_page_is_not(server: ViewServer, host: str) -> None:
    host = host.replace("{port}", str(server.port))
    assert ask(server, "/", headers={"Host": host, "Origin": f"http://{host}"})[0] == 200
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(server, "/", headers=followed)[0] == 200


def test_a_dropped_avatar(server: ViewServer, avatar: Avatar, tmp_path: Path) -> None:
    content = save_avatar(avatar, tmp_path / "you.avatar").read_bytes()
    status, packet, _ = ask(server, "/open", "POST", content, {"X-Name": "you%20%3C.avatar"})
    assert status == 200 and b'\\"name\\": \\"you <\\"' in packet


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"nothing of the kind", "not an avatar"),
        (lambda content: content[: len(content) // 2], "cut short"),
        (lambda content: content.replace(b'"version":"1"', b'"version":"9"', 1), "newer version"),
        (lambda content: b"", "not an avatar"),
    ],
)  # fmt: skip
def test_a_dropped_file_that_is_none(server: ViewServer, avatar: Avatar, tmp_path: Path, change, message) -> None:
    content = save_avatar(avatar, tmp_path / "you.avatar").read_bytes()
    status, answer, headers = ask(server, "/open", "POST", change(content), {"X-Name": "you.avatar"})
    assert status == 400 and headers["Content-Type"].startswith("application/json")
    told = json.loads(answer)["error"]
    assert message in told and str(tmp_path) not in told


def test_a_dropped_file_that_is_huge(server: ViewServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LARGEST_UPLOAD", 1000)
    assert ask(server, "/open", "POST", b"x" * 1001)[0] == 413
    assert ask(server, "/")[0] == 200


def test_nothing_is_taken_where_nothing_may_be_dropped(site: Site) -> None:
    running = ViewServer(replace(site, opener=None), port=0)
    running.start()
    assert ask(running, "/open", "POST", b"x")[0] == 404
    running.close()


def test_other_addresses_need_a_token(avatar: Avatar) -> None:
    site = make_site([("me", avatar)], "0.0.0.0")
    assert len(site.token) >= 20
    with pytest.raises(ValueError, match="token"):
        ViewServer(replace(site, token=""), "0.0.0.0", 0)
    running = ViewServer(site, "0.0.0.0", 0)
    threading.Thread(target=running.run, daemon=True).start()
    assert ask(running, "/")[0] == ask(running, "/avatars/0")[0] == ask(running, "/wrong/avatars/0")[0] == 403
    assert ask(running, f"/{site.token}/")[0] == ask(running, f"/{site.token}/avatars/0")[0] == 200
    assert site.token in running.address
    running.close()


def test_a_port_that_is_taken(server: ViewServer, site: Site) -> None:
    with pytest.raises(UserError, match="cannot be listened on"):
        ViewServer(site, port=server.port)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("192.168.1.4", False), ("x", False)],
)
def test_what_is_local(host: str, local: bool) -> None:
    assert is_local(host) == local


def test_links_name_an_address() -> None:
    assert shown_host("127.0.0.1") == "127.0.0.1" and shown_host("::1") == "[::1]"
    assert shown_host("0.0.0.0") not in ("", "0.0.0.0")


@pytest.mark.parametrize(
    "error", [ValueError("x"), RecursionError(), MemoryError(), KeyError("a"), OSError("b"), AssertionError()]
)
def test_whatever_a_reader_lets_through_is_answered(site: Site, error: Exception) -> None:
    def opener(path: Path) -> Avatar:
        raise error

    running = ViewServer(replace(site, opener=opener), port=0)
    running.start()
    status, answer, headers = ask(running, "/open", "POST", b"x", {"X-Name": "you%1B%5B2J.avatar"})
    assert status == 500 and headers["Content-Type"].startswith("application/json")
    told = json.loads(answer)["error"]
    assert type(error).__name__ in told and "you" in told and "\x1b" not in told
    assert ask(running, "/")[0] == 200
    running.close()


def raw(server: ViewServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LONGEST_REQUEST", 0.4)
    running = ViewServer(site, port=0)
    running.start()
    for start in (
        b"GET / HT",
        f"POST /open HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nContent-Length: 999\r\n\r\n".encode(),
    ):
        with raw(running) as client:
            began, ended = time.monotonic(), False
            client.sendall(start)
            client.settimeout(0.05)
            while time.monotonic() - began < 5 and not ended:
                try:
                    ended = client.recv(100) == b""
                except TimeoutError:
                    try:
                        client.sendall(b"x")
                    except OSError:
                        ended = True
                except OSError:
                    ended = True
            # Four tenths of a second, and what a busy machine adds.
            assert ended and time.monotonic() - began < 3
    assert ask(running, "/")[0] == 200
    running.close()


def test_connections_have_a_bound_and_come_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 5)
    running = ViewServer(site, port=0)
    running.start()
    before = threading.active_count()
    clients = [raw(running) for _ in range(12)]
    time.sleep(0.3)
    assert threading.active_count() - before <= 2 * 5  # a thread and a clock each
    for client in clients:
        client.close()
    for _ in range(50):
        try:
            assert ask(running, "/")[0] == 200
            break
        except OSError:
            time.sleep(0.1)
    else:
        raise AssertionError("the server does not come back")
    running.close()
