"""A WebSocket server that lets any program on this machine drive an avatar, and pages watch it (docs/live.md).

Nothing queues up anywhere: of the drivers' frames only the newest is kept until it is used, and a watcher is sent the
newest motion only after it has acknowledged the one before (by the pong to a ping behind it).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.drive.live import LivePuppet
from spatialavatar.drive.live_protocol import (
    DEFAULT_PORT,
    MOST_PER_SECOND,
    PATH,
    Frame,
    Neutral,
    ProtocolError,
    RateLimit,
    Watch,
    motion_message,
    parse_message,
    welcome_message,
)
from spatialavatar.errors import UserError
from spatialavatar.view.server import LOCAL, is_local, shown_host

MOST_CLIENTS = 16
MOST_ERRORS = 100
"""Errors in a row after which a client is not worth listening to."""
LARGEST_PAYLOAD = 2**20
PATIENCE = 5.0
"""Seconds that a watcher may take for one message."""
_START = 10.0
_FAREWELL = 1.0


class LiveServer:
    """Serves one avatar to drivers and watchers, in a thread of its own.

    Args:
        avatar: Who is driven.
        name: What clients are told it is called.
        host, port: Where to listen; port 0 takes a free one.
        token: Clients have to give it; made up where the address is not this machine's own.
        page_port: Port of the page that may connect; others, and those on other machines, are refused.

    Raises (on start):
        UserError: It cannot listen there, or the package websockets is missing.
    """

    def __init__(
        self,
        avatar: Avatar,
        name: str = "avatar",
        host: str = LOCAL,
        port: int = DEFAULT_PORT,
        *,
        token: str | None = None,
        page_port: int | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.token = token or ("" if is_local(host) else secrets.token_urlsafe(18))
        self.page_port = page_port
        self._hub = _Hub(avatar, name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: Exception | None = None

    @property
    def address(self) -> str:
        """What clients connect to."""
        return f"ws://{shown_host(self.host)}:{self.port}{PATH}" + (f"?token={self.token}" if self.token else "")

    def start(self) -> None:
        """Listen, in the background; returns when clients can connect."""
        try:
            from websockets.asyncio.server import serve
        except ImportError:
            raise UserError(
                "live driving needs the package websockets.", hint="pip install 'spatialavatar[web]'"
            ) from None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(serve)), daemon=True)
        self._thread.start()
        self._ready.wait(_START)
        if self._failure is not None:
            raise UserError(
                f"this address cannot be listened on ({getattr(self._failure, 'strerror', None) or self._failure}).",
                where=f"{self.host}:{self.port}",
                hint="Another program has it, or it is not this machine's.",
            )

    def close(self) -> None:
        """Say goodbye to all clients and stop."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_START)

    async def _run(self, serve: Callable[..., Any]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        settings = {
            "process_request": self._admit,
            "compression": None,  # half the speed for nothing on a local line
            "max_size": LARGEST_PAYLOAD,
            "max_queue": 4,
            "close_timeout": _FAREWELL,
            "logger": _quiet_logger(),
        }
        try:
            async with serve(self._hub.serve, self.host, self.port, **settings) as server:
                self.port = next(iter(server.sockets)).getsockname()[1]
                pump = asyncio.create_task(self._hub.pump())
                self._ready.set()
                await self._stop.wait()
                pump.cancel()
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()

    def _admit(self, connection: Any, request: Any) -> Any:
        """None to go on with the handshake, or a refusal."""
        parts = urlsplit(request.path)
        if parts.path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"There is nothing here but {PATH}.\n")
        host = urlsplit("//" + request.headers.get("Host", ""))
        if not self.token and not is_local(host.hostname or ""):
            return connection.respond(HTTPStatus.FORBIDDEN, "This server answers to its own address only.\n")
        if not self._may_come_from(request.headers.get("Origin"), host.hostname):
            return connection.respond(HTTPStatus.FORBIDDEN, "Only the viewer's own page may connect.\n")
        if self.token:
            given = parse_qs(parts.query).get("token", [""])[0]
            given = given or request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not secrets.compare_digest(given.encode(), self.token.encode()):
                return connection.respond(HTTPStatus.UNAUTHORIZED, "The address lacks its token.\n")
        if self._hub.is_full:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_CLIENTS} clients are connected.\n")
        return None

    def _may_come_from(self, origin: str | None, host: str | None) -> bool:
        """Programs have no origin. Of pages only the viewer's own may connect: same machine, and its port."""
        if origin is None:
            return True
        try:
            parts = urlsplit(origin)
            same_machine = parts.hostname == host or (is_local(parts.hostname or "") and is_local(host or ""))
            return parts.scheme == "http" and same_machine and parts.port == self.page_port is not None
        except ValueError:
            return False


def _quiet_logger() -> logging.Logger:
    """Clients that go away in the middle of a handshake are no event for the terminal."""
    logger = logging.getLogger("spatialavatar.live")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


@dataclass(eq=False)
class _Client:
    """A connection, and the newest motion that it has not been sent yet."""

    socket: Any
    limit: RateLimit = field(default_factory=RateLimit)
    errors: int = 0
    said_too_fast: float = -1.0
    waiting: str | None = None
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    sender: asyncio.Task[None] | None = None


class _Hub:
    """Who drives, who watches, and the newest frame. Lives in the server's event loop."""

    def __init__(self, avatar: Avatar, name: str) -> None:
        head = avatar.head
        self._puppet = LivePuppet(avatar)
        self._welcome = welcome_message(name, head.edition, head.expression_names)
        self._clients: set[_Client] = set()
        self._newest: Frame | None = None
        self._received = 0
        self._last_good: Frame | None = None
        self._is_new: asyncio.Event | None = None

    @property
    def is_full(self) -> bool:
        return len(self._clients) >= MOST_CLIENTS

    async def serve(self, connection: Any) -> None:
        """Listen to one client until it goes away."""
        from websockets.exceptions import ConnectionClosed

        client = _Client(connection)
        self._clients.add(client)
        try:
            await self._say(client, self._welcome)
            async for raw in connection:
                await self._take(client, raw)
                if client.errors >= MOST_ERRORS:
                    await connection.close(1008, f"{MOST_ERRORS} errors in a row")
                    break
        except (ConnectionClosed, asyncio.TimeoutError):
            pass
        finally:
            self._clients.discard(client)
            if client.sender is not None:
                client.sender.cancel()

    async def _take(self, client: _Client, raw: str | bytes) -> None:
        now = asyncio.get_running_loop().time()
        if not client.limit.admits(now):
            # Dropped unread; said once a second, or the answers would be a flood of their own.
            if now - client.said_too_fast >= 1:
                client.said_too_fast = now
                text = f"more than {MOST_PER_SECOND} messages in a second; those beyond are dropped."
                await self._say(client, ProtocolError("too_fast", text).message())
            return
        try:
            message = parse_message(raw)
            if isinstance(message, Frame):
                self._newest = self._last_good = message
                self._received += 1
                if self._is_new is not None:
                    self._is_new.set()
            elif isinstance(message, Neutral):
                self._calibrate(message)
            elif isinstance(message, Watch) and client.sender is None:
                client.sender = asyncio.create_task(self._send_motions(client))
            client.errors = 0
        except ProtocolError as error:
            client.errors += 1
            await self._say(client, error.message())

    def _calibrate(self, message: Neutral) -> None:
        if message.clear:
            self._puppet.neutral = None
        elif self._last_good is None:
            raise ProtocolError("no_frame", "there is no frame yet to take for the neutral face.")
        else:
            self._puppet.neutral = self._last_good

    async def pump(self) -> None:
        """Turn the newest frame into motion, again and again."""
        self._is_new = asyncio.Event()
        while True:
            await self._is_new.wait()
            self._is_new.clear()
            frame, self._newest = self._newest, None
            if frame is None:
                continue
            try:
                text = motion_message(self._puppet.motion(frame), self._received)
            except UserError as error:
                text = ProtocolError("bad_value", error.what, frame.sequence).message()
            except Exception:
                # A bug of ours; the next frame may be fine, and clients must not hang.
                traceback.print_exc()
                continue
            for client in self._clients:
                if client.sender is not None:
                    client.waiting = text
                    client.awake.set()
            # Others get their turn between two frames.
            await asyncio.sleep(0)

    async def _send_motions(self, client: _Client) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                await client.awake.wait()
                client.awake.clear()
                text, client.waiting = client.waiting, None
                if text is None:
                    continue
                await self._say(client, text)
                # The pong says that all before it has arrived: no buffer on the way fills up.
                await asyncio.wait_for(await client.socket.ping(), PATIENCE)
        except asyncio.TimeoutError:
            # It would not take a close frame either.
            await self._drop(client)
        except ConnectionClosed:
            pass

    async def _say(self, client: _Client, text: str) -> None:
        await asyncio.wait_for(client.socket.send(text), PATIENCE)

    async def _drop(self, client: _Client) -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.socket.close(1013, f"nothing was taken for {PATIENCE:.0f} s"), _FAREWELL)
        client.socket.transport.abort()
