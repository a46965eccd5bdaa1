"""`spatialavatar view`: avatars in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from spatialavatar.cli.heads import HeadOptions
from spatialavatar.cli.paths import check_inputs
from spatialavatar.cli.run import Common, say
from spatialavatar.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spatialavatar.avatar.avatar import Avatar
    from spatialavatar.drive.live_protocol import Frame
    from spatialavatar.view.live_server import LiveServer
    from spatialavatar.view.server import Site, ViewServer

MOST = 4


@dataclass(frozen=True, kw_only=True)
class View(HeadOptions, Common):
    """Look at an avatar in the browser, move it with sliders, and let it play motions; several stand side by side.

    The page is served from this machine to this machine, and fetches nothing from anywhere else. See docs/viewer.md.
    For one offline file: spatialavatar export me.avatar --to html

    For example:
        spatialavatar view me.avatar
        spatialavatar view before.avatar after.avatar
        spatialavatar view me.avatar --no-browser --port 8760
        spatialavatar view me.avatar --live
        spatialavatar view me.avatar --webcam face_landmarker.task
    """

    avatars: Positional[Annotated[tuple[Path, ...], arg(metavar="NAME.avatar")]]
    """One to four avatars."""
    port: Annotated[int | None, arg(metavar="PORT", help_behavior_hint="")] = None
    """Listen there; by default on 8760, or on a free one where that is taken."""
    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1"
    """Listen on this address. Any but this machine's own is served only to those who have the token in the link."""
    live: bool = False
    """Let other programs drive the first avatar over a WebSocket: spatialavatar live, an iPhone, your own."""
    webcam: Annotated[Path | None, arg(metavar="face_landmarker.task", help_behavior_hint="")] = None
    """Let your webcam drive the first avatar, by this model of MediaPipe's, which is not part of the package."""
    camera: Annotated[int, arg(metavar="NUMBER")] = 0
    """Which camera is the webcam."""
    no_browser: bool = False
    """Print the address and open nothing."""

    def run(self) -> int | None:
        check_inputs(list(self.avatars))
        if len(self.avatars) > MOST:
            raise UserError(f"{len(self.avatars)} avatars were given; up to {MOST} fit side by side.")
        if self.port is not None and not 0 <= self.port <= 65535:
            raise UserError(f"--port is {self.port}; expected 0 to 65535.")

        from spatialavatar.avatar.file import load_avatar
        from spatialavatar.view.server import make_site

        head = self.given_head()
        avatars = [(path.stem, load_avatar(path, head)) for path in self.avatars]
        frames = None if self.webcam is None else self._webcam_frames(self.webcam)
        driver = self._live_server(*avatars[0]) if self.live or frames is not None else None
        address = None if driver is None else driver.address
        server = self._listen(make_site(avatars, self.host, lambda path: load_avatar(path, head), address))
        say(f"Page:     {server.address}")
        if driver is not None:
            driver.page_port = server.port
            say(f"Live:     {driver.address}")
        sender = None
        if driver is not None and frames is not None:
            from spatialavatar.view.webcam import WebcamSender

            sender = WebcamSender(driver.address, frames)
            sender.start()
            say(f"Webcam:   camera {self.camera}")
        say("Ctrl-C ends it.")
        if not self.no_browser:
            import webbrowser

            webbrowser.open(server.address)
        try:
            server.run()
        except KeyboardInterrupt:
            say("Ended.")
        finally:
            if sender is not None:
                sender.close()
            if driver is not None:
                driver.close()
        return None

    def _webcam_frames(self, model: Path) -> Iterator[Frame | None]:
        """From the first picture on, so that a missing camera is said before anything is served."""
        from itertools import chain

        from spatialavatar.track.faces import FaceLandmarkerFinder
        from spatialavatar.track.webcam import webcam_frames

        frames = webcam_frames(self.camera, FaceLandmarkerFinder(model))
        return chain([next(frames)], frames)

    def _live_server(self, name: str, avatar: Avatar) -> LiveServer:
        from spatialavatar.view.live_server import DEFAULT_PORT, LiveServer

        for port in (DEFAULT_PORT, 0):
            server = LiveServer(avatar, name, self.host, port)
            try:
                server.start()
                return server
            except UserError:
                # Another live server has the usual port; anything else fails again.
                if port == 0:
                    raise
        raise AssertionError("one of the two started or raised")

    def _listen(self, site: Site) -> ViewServer:
        from spatialavatar.view.server import DEFAULT_PORT, ViewServer

        if self.port is not None:
            return ViewServer(site, self.host, self.port)
        try:
            return ViewServer(site, self.host, DEFAULT_PORT)
        except UserError:
            return ViewServer(site, self.host, 0)
