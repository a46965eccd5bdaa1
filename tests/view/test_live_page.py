"""The page follows a live driver, and a page of another origin cannot."""

import json
import time

import pytest

pytest.importorskip("websockets", reason="the package websockets (extra web) is missing")

from websockets.sync.client import connect

from spatialavatar.view.live_server import LiveServer
from spatialavatar.view.server import ViewServer, make_site
from tests.synthetic import painted_avatar
from tests.view.browser import chromium, open_page

TRY = """(address) => new Promise((done) => {
  const socket = new WebSocket(address);
  socket.onopen = () => done("open");
  socket.onerror = () => done("refused");
})"""


@pytest.mark.browser
def test_the_page_follows_a_driver() -> None:
    avatar = painted_avatar(24)
    live = LiveServer(avatar, "me", port=0)
    live.start()
    page_server = ViewServer(make_site([("me", avatar)], live=live.address), port=0)
    live.page_port = page_server.port
    page_server.start()
    stranger = ViewServer(make_site([("me", avatar)], live=live.address), port=0)
    stranger.start()
    try:
        with chromium() as browser:
            page = open_page(browser, page_server.address, width=400, height=300)
            names = avatar.head.expression_names
            with connect(live.address, proxy=None) as driver:
                state = ""
                for index in range(200):
                    driver.send(json.dumps({"type": "frame", "weights": {"jawOpen": 0.8}, "sequence": index}))
                    page.wait_for_timeout(30)
                    state = page.text_content("#live-state")
                    if "frames/s" in state:
                        break
                assert "frames/s" in state, state
                followed = page.evaluate("Array.from(viewer.live.now.frame.expression)")
                assert followed[names.index("jawOpen")] == pytest.approx(0.8, abs=1e-4)
            # The driver has gone: after three seconds of silence the page is on its own again.
            end = time.monotonic() + 15
            while "waiting" not in page.text_content("#live-state"):
                assert time.monotonic() < end
                page.wait_for_timeout(200)
            page.close()
            other = browser.new_page()
            other.goto(stranger.address + "nothing")  # a page of that origin, with nothing to draw
            assert other.evaluate(TRY, live.address) == "refused", "another origin, though it knows the address"
    finally:
        stranger.close()
        page_server.close()
        live.close()
