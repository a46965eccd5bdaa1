"""Serves the page and its avatars on this machine, and nothing else.

Three addresses: the page, its avatars by number, and `open` for an avatar that is dropped on the page. Requests that
were not sent to this server by name (DNS rebinding), or that another page makes, are refused. On any other address than
this machine's own a token has to be part of the path.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.errors import UserError
from spatialavatar.text import printable
from spatialavatar.view.packet import avatar_packet
from spatialavatar.view.page import page_html

LOCAL = "127.0.0.1"
DEFAULT_PORT = 8760
LARGEST_UPLOAD = 256 * 2**20
"""Bytes of a dropped avatar."""

_TIMEOUT = 30.0
"""Seconds that a client may say nothing in the middle of a request."""

LONGEST_REQUEST = 120.0
"""Seconds for a whole request and its answer: a client that sends a byte now and then keeps no thread for longer. The
largest avatar, 256 MB, takes 21 s at 100 Mbit/s."""

MOST_CONNECTIONS = 64
"""At the same time; each has a thread. A page opens up to six."""

MOST_OPENING = 2
"""Dropped avatars that are read at the same time; others wait for their turn."""

Opener = Callable[[Path], Avatar]


@dataclass(frozen=True)
class Site:
    """What is served.

    packets: Of the avatars, in the order of the page.
    token: First part of every path; empty for none.
    opener: Reads a dropped avatar; None refuses them.
    live: Address of a WebSocket with a live driver (docs/live.md).
    """

    packets: tuple[bytes, ...]
    token: str = ""
    opener: Opener | None = None
    live: str | None = None

    @property
    def page(self) -> bytes:
        data: dict[str, object] = {"avatars": [{"url": f"avatars/{index}"} for index in range(len(self.packets))]}
        if self.opener is not None:
            data["open"] = "open"
        if self.live is not None:
            data["live"] = self.live
        return page_html(data).encode()

    @property
    def policy(self) -> str:
        """Content security policy: the page talks to this server, and to the live driver."""
        connect = "'self'" if self.live is None else f"'self' {_origin(self.live)}"
        return (
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
            f"media-src blob:; connect-src {connect}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )


class ViewServer:
    """A server that runs until `close`.

    Raises (on construction):
        UserError: It cannot listen there.
    """

    def __init__(self, site: Site, host: str = LOCAL, port: int = DEFAULT_PORT) -> None:
        if not is_local(host) and not site.token:
            raise ValueError("other addresses than this machine's own are served with a token only")
        self.site = site
        self.host = host
        try:
            self._http = _Server((host, port), site)
        except OSError as error:
            raise UserError(
                f"this address cannot be listened on ({error.strerror or error}).",
                where=f"{host}:{port}",
                hint="Another program has it, or it is not this machine's: choose another with --port or --host.",
            ) from None

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{shown_host(self.host)}:{self.port}/" + (f"{self.site.token}/" if self.site.token else "")

    def run(self) -> None:
        """Serve until interrupted."""
        self._http.serve_forever(poll_interval=0.2)

    def start(self) -> None:
        """Serve in the background."""
        threading.Thread(target=self.run, daemon=True).start()

    def close(self) -> None:
        """Stop a server that `start` started."""
        self._http.shutdown()
        self._http.server_close()


def make_site(
    avatars: Sequence[tuple[str, Avatar]], host: str = LOCAL, opener: Opener | None = None, live: str | None = None
) -> Site:
    """The site of named avatars, with a token where the address needs one.

    Raises:
        UserError: An avatar is too large for a browser.
    """
    packets = tuple(avatar_packet(avatar, name) for name, avatar in avatars)
    return Site(packets, "" if is_local(host) else secrets.token_urlsafe(18), opener, live)


def is_local(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown_host(host: str) -> str:
    """How an address that is listened on is written in a link: for all addresses, this machine's in its network."""
    if host in ("0.0.0.0", "::", ""):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                # A UDP socket that is connected sends nothing: the system only looks up the way.
                probe.connect(("192.0.2.1", 9))
                return str(probe.getsockname()[0])
            except OSError:
                return socket.gethostname()
    return f"[{host}]" if ":" in host else host


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS
    # Two viewers on one port would answer by turns.
    allow_reuse_address = False

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        self.site = site
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.opening = threading.BoundedSemaphore(MOST_OPENING)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread of its own, or close it where too many have one."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no event."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT
    server_version = "spatialavatar"
    sys_version = ""

    def handle_one_request(self) -> None:
        """One request, within a time for all of it: a timeout of the socket alone begins anew with every byte."""
        ended = threading.Timer(LONGEST_REQUEST, self._end)
        ended.daemon = True
        ended.start()
        try:
            super().handle_one_request()
        finally:
            ended.cancel()

    def _end(self) -> None:
        # Whatever the thread waits for, reading or writing, ends with an error that closes the connection.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the command."""

    def do_GET(self) -> None:
        path = self._admitted()
        if path is None:
            return
        site = self.server.site
        if path == "":
            self._answer(HTTPStatus.OK, site.page, "text/html; charset=utf-8")
        elif path.startswith("avatars/") and path[8:].isascii() and path[8:].isdigit() and len(path) < 12:
            index = int(path[8:])
            if index < len(site.packets):
                self._answer(HTTPStatus.OK, site.packets[index], "application/octet-stream")
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "There is no such avatar.")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_POST(self) -> None:
        path = self._admitted()
        if path is None:
            return
        opener = self.server.site.opener
        if path != "open" or opener is None:
            self._refuse_file(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self._refuse_file(HTTPStatus.LENGTH_REQUIRED, "The request does not say how long it is.")
        elif len(length) > 12 or int(length) > LARGEST_UPLOAD:
            self._refuse_file(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"This file is larger than {LARGEST_UPLOAD // 2**20} MB: no avatar.",
            )
        else:
            self._open(int(length), opener)

    def _open(self, length: int, opener: Opener) -> None:
        name = printable(Path(unquote(self.headers.get("X-Name", "avatar"))).stem[:80]) or "avatar"
        with tempfile.TemporaryDirectory(prefix="spatialavatar-") as folder:
            file = Path(folder) / "dropped.avatar"
            if not self._receive(file, length):
                return
            try:
                with self.server.opening:
                    packet = avatar_packet(opener(file), name)
            except UserError as error:
                text = " ".join(filter(None, [f"{name}: {error.what}", error.hint]))
                self._refuse_file(HTTPStatus.BAD_REQUEST, text)
                return
            except Exception as error:
                # Whatever a reader lets through: the page waits for an answer and says it.
                kind = type(error).__name__
                self._refuse_file(
                    HTTPStatus.INTERNAL_SERVER_ERROR, f"{name}: this file cannot be opened ({kind}). It may be damaged."
                )
                return
        self._answer(HTTPStatus.OK, packet, "application/octet-stream")

    def _receive(self, file: Path, length: int) -> bool:
        """Write the request's content to a file; False where it ended early or found no room."""
        try:
            with file.open("wb") as target:
                left = length
                while left > 0:
                    part = self.rfile.read(min(left, 1 << 20))
                    if not part:
                        return False
                    target.write(part)
                    left -= len(part)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise  # the connection's own
            self._refuse_file(HTTPStatus.INSUFFICIENT_STORAGE, "No disk space is left to open this avatar.")
            return False
        return True

    def _admitted(self) -> str | None:
        """The path without token and leading slash, or None after a refusal."""
        if not self._names_us(self.headers.get("Host", "")):
            self._refuse(HTTPStatus.FORBIDDEN, "This server answers to its own address only.")
            return None
        origin = self.headers.get("Origin")
        strange = origin is not None and (
            urlsplit(origin).scheme != "http" or urlsplit(origin).netloc != self.headers["Host"]
        )
        # Following a link to the page is fine; a foreign page that fetches from here is not.
        fetched = (
            self.headers.get("Sec-Fetch-Site") == "cross-site" and self.headers.get("Sec-Fetch-Mode") != "navigate"
        )
        if strange or fetched:
            self._refuse(HTTPStatus.FORBIDDEN, "Another page asked for this; only the viewer's own page may.")
            return None
        path = urlsplit(self.path).path.lstrip("/")
        token = self.server.site.token
        if token:
            given, _, path = path.partition("/")
            if not secrets.compare_digest(given.encode(), token.encode()):
                self._refuse(
                    HTTPStatus.FORBIDDEN, "The address lacks its token: use the one that spatialavatar view printed."
                )
                return None
        return path

    def _names_us(self, host: str) -> bool:
        """With a token any name is fine: a page elsewhere does not know it. Without one, only this machine's own."""
        if self.server.site.token:
            return True
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        own = str(self.server.server_address[1])
        return is_local((name or host).strip("[]")) and (port or "80") == own

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        # What was not read of the request must not be taken for the next one.
        self.close_connection = True
        self._answer(status, (text + "\n").encode(), "text/plain; charset=utf-8")

    def _refuse_file(self, status: HTTPStatus, text: str) -> None:
        """Refuse a dropped file: {"error": "..."}, which the page shows."""
        self.close_connection = True
        self._answer(status, (json.dumps({"error": text}) + "\n").encode(), "application/json; charset=utf-8")

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": self.server.site.policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
