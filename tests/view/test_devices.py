"""The page on a phone, in light and dark, and what it asks of memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spatialavatar.view.offline import write_offline_page
from tests.view.avatars import varied_avatar
from tests.view.browser import chromium, open_page, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium("--js-flags=--expose-gc", "--enable-precise-memory-info") as running:
        yield running


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> str:
    pair = [varied_avatar(48), varied_avatar(48, seed=3)]
    return write_offline_page(pair, tmp_path_factory.mktemp("page") / "both.html", names=["me", "you"]).as_uri()


@pytest.fixture
def phone(browser: Any, offline: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.goto(offline)
    wait_until(page, "window.viewer !== undefined", 30)
    yield page
    context.close()


def touch(page: Any, *moments: list[tuple[float, float]]) -> None:
    """Fingers on the picture, moment after moment; then they are lifted."""
    session = page.context.new_cdp_session(page)
    for index, fingers in enumerate(moments):
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(fingers)]
        kind = "touchStart" if index == 0 else "touchMove"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_fingers_turn_zoom_and_move(phone: Any) -> None:
    view = "Object.assign({}, viewer.stage.view)"
    assert phone.inner_text("#hint") == "Drag to turn · pinch to zoom"
    touch(phone, [(200, 200)], [(160, 210)], [(120, 220)])
    assert not phone.is_visible("#hint"), "it was understood"
    turned = phone.evaluate(view)
    assert turned["yaw"] > 0.1 and turned["pitch"] > 0.01 and turned["zoom"] == 1
    touch(phone, [(180, 200), (220, 200)], [(150, 200), (250, 200)])
    assert phone.evaluate(view)["zoom"] == pytest.approx(2.5, rel=0.05), "a pinch from 40 to 100 pixels"
    before = phone.evaluate(view)
    touch(phone, [(180, 200), (220, 200)], [(220, 240), (260, 240)])
    after = phone.evaluate(view)
    assert after["shiftX"] > before["shiftX"] + 0.05 and after["shiftY"] > before["shiftY"] + 0.05


def test_a_phone_shows_everything_in_readable_size(phone: Any) -> None:
    phone.evaluate("document.querySelectorAll('details').forEach((group) => { group.open = true })")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = phone.evaluate(
        """[...document.querySelectorAll("#panel input[type=range], #panel select, #toolbar button")]
          .map((part) => [part.id, part.getBoundingClientRect()])
          .filter(([, box]) => box.left < 0 || box.right > innerWidth || box.width < 32 || box.height < 32)
          .map(([id]) => id)"""
    )
    assert outside == [], "all within the width, and large enough for a finger"
    sizes = phone.evaluate(
        """[...document.querySelectorAll("body *")]
          .filter((part) => [...part.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
          .filter((part) => !["SCRIPT", "STYLE"].includes(part.tagName))
          .map((part) => parseFloat(getComputedStyle(part).fontSize))"""
    )
    assert min(sizes) >= 12
    picture = phone.evaluate("document.getElementById('canvas').getBoundingClientRect().height")
    assert picture > 844 / 2


def test_a_phone_on_its_side_keeps_the_picture_beside_the_controls(browser: Any, offline: str) -> None:
    context = browser.new_context(viewport={"width": 667, "height": 375}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.goto(offline)
    wait_until(page, "window.viewer !== undefined", 30)
    picture, panel = (page.locator(name).bounding_box() for name in ("#canvas", "#panel"))
    assert picture["height"] == panel["height"] == 375
    assert picture["width"] + panel["width"] == 667 and picture["width"] > 667 / 2
    slider = page.locator("#slider-headYaw").bounding_box()
    assert slider["width"] > 80 and slider["height"] >= 32
    context.close()


# Contrast of text on its background as WCAG 2 counts it.
CONTRAST = """(ids) => ids.map((id) => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const panel = light(getComputedStyle(document.getElementById("panel")).backgroundColor);
  const text = light(getComputedStyle(document.querySelector(id)).color);
  return (Math.max(panel, text) + 0.05) / (Math.min(panel, text) + 0.05);
})"""


@pytest.mark.parametrize("system", ["light", "dark"])
def test_light_and_dark(browser: Any, offline: str, system: str) -> None:
    context = browser.new_context(viewport={"width": 900, "height": 500}, color_scheme=system)
    page = context.new_page()
    page.goto(offline)
    wait_until(page, "window.viewer !== undefined", 30)
    background = "viewer.stage.background[0]"
    page.evaluate("viewer.draw(1)")
    assert (page.evaluate(background) < 0.5) == (system == "dark")
    other = "light" if system == "dark" else "dark"
    for theme in (system, other):
        page.evaluate("document.getElementById('look').open = true")
        page.select_option("#theme", theme)
        page.evaluate("viewer.draw(1)")
        assert (page.evaluate(background) < 0.5) == (theme == "dark")
        # 4.5 is what WCAG asks of text of this size.
        assert min(page.evaluate(CONTRAST, ["h1", "#subtitle", ".row label", "#presets button", "#open"])) > 4.5, theme
    page.reload()
    wait_until(page, "window.viewer !== undefined", 30)
    page.evaluate("viewer.draw(1)")
    assert (page.evaluate(background) < 0.5) == (other == "dark"), "it is remembered"
    context.close()


def test_a_reset_is_offered_where_something_moved(browser: Any, offline: str) -> None:
    page = open_page(browser, offline, offline=True)
    reset = page.get_by_role("button", name="Reset Mouth")
    assert not reset.is_visible()
    page.get_by_role("button", name="Smile").click()
    assert reset.is_visible()
    filled = "getComputedStyle(document.getElementById('slider-mouthSmileLeft')).getPropertyValue('--to')"
    assert float(page.evaluate(filled)) == pytest.approx(0.8)
    reset.click()
    assert not reset.is_visible()
    page.context.close()


def test_the_renderer_can_be_chosen(browser: Any, offline: str) -> None:
    page = open_page(browser, offline, offline=True)
    page.evaluate("document.getElementById('look').open = true")
    assert page.input_value("#renderer") == ""
    # The address changes before the page loads anew; asking the page in between is asking one that goes.
    with page.expect_event("load"):
        page.select_option("#renderer", "#webgl")
    page.wait_for_url("**#webgl")
    wait_until(page, "window.viewer !== undefined && document.getElementById('renderer').value === '#webgl'", 30)
    assert page.evaluate("viewer.stage.renderer.deviceName").startswith("WebGL2")
    page.context.close()


def test_a_graphics_device_that_never_answers_is_not_waited_for(browser: Any, offline: str) -> None:
    page = browser.new_page()
    page.add_init_script(
        """Object.defineProperty(navigator, "gpu", { value: { requestAdapter: () => new Promise(() => {}) } });
        const wait = window.setTimeout;
        window.setTimeout = (action, milliseconds, ...rest) => wait(action, milliseconds / 20, ...rest);"""
    )
    page.goto(offline)
    wait_until(page, "window.viewer !== undefined && viewer.shown > 0", 30)
    assert page.evaluate("viewer.stage.renderer.deviceName").startswith("WebGL2")
    page.close()


def test_squares_show_what_is_transparent(browser: Any, offline: str) -> None:
    page = open_page(browser, offline, offline=True)
    area = "getComputedStyle(document.getElementById('picture-area')).backgroundImage"
    page.evaluate("document.getElementById('look').open = true")
    for choice, squares in (("none", True), ("#ffffff", False)):
        page.select_option("#background", choice)
        page.evaluate("viewer.draw(1)")
        assert ("conic-gradient" in page.evaluate(area)) == squares
    page.context.close()


def test_a_frame_allocates_nothing(browser: Any, tmp_path: Path) -> None:
    """Posing and sorting with every expression moving, as it is for each frame of a motion."""
    page = open_page(browser, write_offline_page(varied_avatar(96), tmp_path / "me.html").as_uri(), offline=True)
    allocated = page.evaluate(
        """(frames) => {
          const scene = viewer.stage.scenes[0], motion = structuredClone(scene.packet.rest);
          const step = (i) => { motion.expression.fill(0.1 + i * 1e-6); scene.pose(motion); scene.sort(); };
          for (let i = 0; i < 100; i++) step(i);
          const measure = () => {
            gc();
            const before = performance.memory.usedJSHeapSize;
            for (let i = 0; i < frames; i++) step(i);
            return (performance.memory.usedJSHeapSize - before) / frames;
          };
          // The least of three: on a busy machine the engine compiles, and notes what it saw, at any time.
          return Math.min(measure(), measure(), measure());
        }""",
        300,
    )
    # One array of any kind for each Gaussian or vertex would be tens of thousands; what is left is the engine's own.
    assert allocated < 1000
    page.context.close()
