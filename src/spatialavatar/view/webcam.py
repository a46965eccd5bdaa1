"""Sends what a webcam sees to the live server, from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from spatialavatar.drive.live_protocol import Frame, frame_message
from spatialavatar.errors import UserError


class WebcamSender:
    """A driver of a live server, until `close` or until the frames or the server end.

    address: Of the live server, its token included.
    frames: What the face does, None for pictures without one; errors end the sender and are kept in `failure`.
    """

    def __init__(self, address: str, frames: Iterator[Frame | None]) -> None:
        self.failure: UserError | None = None
        self.sent = 0
        self._address = address
        self._frames = frames
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="webcam")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop after the picture that is being looked at."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        try:
            with connect(self._address, compression=None, open_timeout=5, proxy=None) as server:
                for frame in self._frames:
                    if self._stopped.is_set():
                        return
                    if frame is not None:
                        server.send(frame_message(frame))
                        self.sent += 1
        except UserError as error:
            self.failure = error
        except (OSError, WebSocketException):
            # The live server is this program's own: it went away because the program ends.
            return
