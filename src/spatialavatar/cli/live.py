"""`spatialavatar live`: sends a take, or what an iPhone sends, to a live server."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from spatialavatar.cli.run import Common, say, warn
from spatialavatar.errors import UserError
from spatialavatar.text import printable

if TYPE_CHECKING:
    from spatialavatar.drive.live_protocol import Frame

_USUAL = "ws://127.0.0.1:8765/live"
_SILENCE = 0.25
"""Seconds without a packet after which the server is listened to."""
_BATCH = 256
"""Packets that are looked at before the newest frame is sent: four seconds of a phone's."""


@dataclass(frozen=True, kw_only=True)
class Live(Common):
    """Drive the avatar that `spatialavatar view --live` shows: with a recorded take, or live from an iPhone.

    SOURCE is a table of ARKit blendshapes (.csv, .npz) or a motion file, sent in real time; or udp, what the Live Link
    Face app sends (in the app: Settings, Live Link, this machine's address and port 11111). docs/live.md describes
    the messages, for apps of your own.

    For example:
        spatialavatar live take.csv --loop
        spatialavatar live udp
        spatialavatar live udp:11111 --sender 192.168.1.20 --neutral
    """

    source: Positional[Annotated[str, arg(metavar="SOURCE")]]
    """A take, or udp, or udp:PORT."""
    to: Annotated[str, arg(metavar="URL")] = _USUAL
    """The live server, as `spatialavatar view --live` prints it."""
    loop: bool = False
    """Begin again when the take ends."""
    neutral: bool = False
    """Take the first frame for the driver's neutral face: only what differs from it moves the avatar."""
    sender: Annotated[str, arg(metavar="ADDRESS", help_behavior_hint="")] = ""
    """Take packets of this address only (udp); by default of the first that sends any."""
    frame_rate: Annotated[float | None, arg(metavar="FPS", help_behavior_hint="")] = None
    """Frames per second of a take, whatever its time stamps say."""

    def run(self) -> int | None:
        if self.frame_rate is not None and not 0 < self.frame_rate <= 1000:
            raise UserError(f"--frame-rate is {self.frame_rate}; expected frames per second.")
        port = _udp_port(self.source)
        frames = self._take() if port is None else self._packets(port)
        sent = 0
        with _connected(self.to) as server, contextlib.closing(frames), contextlib.suppress(KeyboardInterrupt):
            for frame in frames:
                if frame is not None:
                    _send(server, frame)
                    sent += 1
                    if self.neutral and sent == 1:
                        server.send('{"type": "neutral"}')
                _listen(server)
        say(f"Sent:     {sent} frames to {self.to}")
        return None

    def _take(self) -> Generator[Frame | None, None, None]:
        from spatialavatar.drive.live import frames_of_recording
        from spatialavatar.drive.load import SHOWS, load_recording
        from spatialavatar.head.open_head import load_open_head

        path = Path(self.source)
        if self.source not in SHOWS and not path.exists():
            raise UserError("there is no such file.", where=path, hint="Give a take (.csv, .npz), or udp.")
        recording = load_recording(self.source, load_open_head(), frame_rate=self.frame_rate, warn=warn)
        frames = list(frames_of_recording(recording))
        return _in_real_time(frames, recording.frame_rate, self.loop)

    def _packets(self, port: int) -> Generator[Frame | None, None, None]:
        """The newest frame of every batch of packets, None when none came for a while."""
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            receiver.bind(("", port))
        except OSError as error:
            raise UserError(
                f"this port cannot be listened on ({error.strerror or error}).",
                where=f"udp:{port}",
                hint="Another program has it: choose another, for example udp:11112, in the app too.",
            ) from None
        receiver.settimeout(_SILENCE)
        say(f"Waiting for Live Link Face on port {port} of {_own_address()}. Ctrl-C ends it.")
        return _newest_packets(receiver, self.sender)


def _in_real_time(frames: list[Frame], rate: float, again: bool) -> Generator[Frame | None, None, None]:
    """Each frame when its time has come; those that are late are passed over."""
    began = time.perf_counter()
    index = 0
    while index < len(frames):
        yield frames[index]
        passed = (time.perf_counter() - began) * rate
        if passed < index + 1:
            time.sleep((index + 1 - passed) / rate)
        index = max(index + 1, int((time.perf_counter() - began) * rate))
        if again and index >= len(frames):
            index, began = 0, time.perf_counter()


def _newest_packets(receiver: socket.socket, sender: str) -> Generator[Frame | None, None, None]:
    """The newest frame of every batch of packets of one sender: the one given, or else the first that is heard."""
    from spatialavatar.drive.live_link import read_packet

    known, chosen, others = "", sender, False
    with receiver:
        while True:
            newest = None
            try:
                content, address = receiver.recvfrom(2048)
                receiver.setblocking(False)
                # Somebody who sends without pause must not keep the frames back.
                for _ in range(_BATCH):
                    packet = read_packet(content)
                    if packet is not None and not chosen:
                        chosen = address[0]
                    if packet is not None and address[0] == chosen:
                        newest = packet.frame or newest
                        if known != packet.subject:
                            known = packet.subject
                            say(f"Driver:   {_plain(known)} ({chosen}), {packet.rate:g} frames/s")
                    elif packet is not None and not others:
                        others = True
                        warn(f"{address[0]} sends too and is ignored; --sender {address[0]} would take it instead.")
                    content, address = receiver.recvfrom(2048)
            except (TimeoutError, BlockingIOError, ConnectionResetError):
                # Windows says that an earlier answer was not wanted as a reset.
                pass
            receiver.settimeout(_SILENCE)
            yield newest


def _plain(text: str) -> str:
    """A name from the network without anything that a terminal would act on."""
    return printable(text, 40)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """A connection to a live server."""
    if not address.startswith(("ws://", "wss://")):
        raise UserError(f"--to is '{address}'; expected an address such as {_USUAL}.")
    try:
        from websockets.exceptions import InvalidURI, WebSocketException
        from websockets.sync.client import connect
    except ImportError:
        raise UserError("live driving needs the package websockets.", hint="pip install 'spatialavatar[web]'") from None
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(connect(address, compression=None, open_timeout=5, proxy=None))
        except InvalidURI:
            raise UserError(f"--to is '{address}'; expected an address such as {_USUAL}.") from None
        except (OSError, WebSocketException) as error:
            raise UserError(
                f"there is no live server ({error}).",
                where=address,
                hint="Start one: spatialavatar view me.avatar --live, and give the address that it prints with --to.",
            ) from None
        yield server


def _send(server: Any, frame: Frame) -> None:
    from websockets.exceptions import ConnectionClosed

    from spatialavatar.drive.live_protocol import frame_message

    try:
        server.send(frame_message(frame))
    except ConnectionClosed as error:
        raise UserError(f"the live server went away ({error}).") from None


def _listen(server: Any) -> None:
    """Show what the server complains about."""
    import json

    from websockets.exceptions import ConnectionClosed

    try:
        while True:
            message = json.loads(server.recv(timeout=0))
            if message.get("type") == "error":
                warn(f"the server says: {message['message']}")
    except TimeoutError:
        return
    except ConnectionClosed as error:
        raise UserError(f"the live server went away ({error}).") from None


def _udp_port(source: str) -> int | None:
    """The port that `udp` or `udp:PORT` means; None for a take."""
    from spatialavatar.drive.live_link import DEFAULT_PORT

    kind, _, port = source.partition(":")
    if kind != "udp" or Path(source).exists():
        return None
    if not port:
        return DEFAULT_PORT
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"'{source}' is no port; expected udp or udp:PORT.")
    return int(port)


def _own_address() -> str:
    """This machine's address in its network, as far as it can tell without asking anybody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # A UDP socket that is connected sends nothing: the system only looks up the way.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "this machine"
