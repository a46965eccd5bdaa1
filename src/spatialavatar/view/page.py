"""The page itself: one HTML file that the web sources build (web/), with places for data and a security policy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources

_POLICY_PLACE = "<!-- policy -->"
_DATA_PLACE = "<!-- data -->"


def page_html(
    data: Mapping[str, object], *, policy: str | None = None, embedded: Sequence[tuple[str, str]] = ()
) -> str:
    """The page with its data filled in.

    Args:
        data: What `PageData` in web/src/data.ts describes.
        policy: A content security policy for pages that no server sends one along with.
        embedded: (id, text) of elements that hold packets, base64.
    """
    html = resources.files("spatialavatar.view").joinpath("page/index.html").read_text("utf-8")
    # The text of a script element ends at "</": JSON may write it otherwise.
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    elements = [f'<script type="application/json" id="page-data">{text}</script>']
    elements += [
        f'<script type="application/octet-stream" id="{name}">{content}</script>' for name, content in embedded
    ]
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    return html.replace(_POLICY_PLACE, meta, 1).replace(_DATA_PLACE, "".join(elements), 1)
