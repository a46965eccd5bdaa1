"""The built page, and what is filled into it."""

import hashlib
import re
from pathlib import Path

from spatialavatar.splat import constants
from spatialavatar.view.offline import write_offline_page
from spatialavatar.view.page import page_html
from tests.view.avatars import varied_avatar

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src" / "spatialavatar" / "view" / "page"
WEB = ROOT / "web"


def test_the_built_page_is_that_of_the_sources() -> None:
    files = [str(file.relative_to(WEB).as_posix()) for file in (WEB / "src").rglob("*") if file.is_file()]
    digest = hashlib.sha256()
    for name in sorted([*files, "index.html"]):
        digest.update(f"{name}\n".encode() + (WEB / name).read_bytes())
    built = (PAGE / "sources.sha256").read_text().strip()
    assert built == digest.hexdigest(), "the sources changed: cd web && npm ci && npm run build"


def test_shader_and_renderer_have_the_same_constants() -> None:
    source = (WEB / "src" / "shaders.ts").read_text()
    found = dict(re.findall(r"^  (ALPHA_MIN|ALPHA_MAX|DILATION|FRUSTUM_MARGIN): ([\d. /]+),$", source, re.MULTILINE))
    assert len(found) == 4
    for name, text in found.items():
        numerator, _, denominator = text.partition("/")
        assert float(numerator) / float(denominator or 1) == getattr(constants, name)
    assert f"NEAR = {constants.NEAR};" in (WEB / "src" / "order.ts").read_text()


def test_the_lock_file_names_no_registry() -> None:
    hosts = re.findall(r'"resolved": "https?://([^/"]+)', (WEB / "package-lock.json").read_text())
    assert set(hosts) <= {"registry.npmjs.org"}


def test_nothing_in_the_page_points_elsewhere() -> None:
    html = page_html({"avatars": []})
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)
    assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", html)
    for address in re.findall(r"https?://[^\s\"'`<>)]+", html):
        assert address.startswith("http://www.w3.org/"), f"the page mentions {address}"


def test_data_cannot_end_its_element() -> None:
    html = page_html({"avatars": [], "live": "</script><script>alert(1)</script>"})
    assert "</script><script>alert" not in html


def test_an_offline_page_is_small_and_says_that_nothing_is_fetched(tmp_path: Path) -> None:
    avatar = varied_avatar(256)  # as many Gaussians as a real one, and nothing that compresses
    path = write_offline_page(avatar, tmp_path / "me.html")
    assert path.stat().st_size < 12e6
    text = path.read_text("utf-8")
    assert "default-src 'none'" in text and "connect-src" not in text
    assert '"name": "me"' not in text and text.count('type="application/octet-stream"') == 1
