"""The offline page: one HTML file that shows avatars with nothing fetched from anywhere."""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Sequence
from pathlib import Path

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.files import write_atomically
from spatialavatar.view.packet import avatar_packet
from spatialavatar.view.page import page_html

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; media-src blob:; "
    "form-action 'none'; base-uri 'none'"
)
"""The browser itself sees to it that nothing is fetched: no source but the page is allowed."""


def write_offline_page(
    avatar: Avatar | Sequence[Avatar], path: str | os.PathLike[str], *, names: Sequence[str] = ()
) -> Path:
    """Write a page that shows one avatar, or several side by side, whole or not at all.

    Whoever has the file has the avatar, its head model included.

    Args:
        avatar: One or several.
        path: The .html file.
        names: What the page calls them; the file's name where missing.

    Raises:
        UserError: An avatar is too large for a browser, or the file cannot be written.
    """
    avatars = [avatar] if isinstance(avatar, Avatar) else list(avatar)
    given = list(names) + [Path(path).stem] * (len(avatars) - len(names))
    packets = [gzip.compress(avatar_packet(a, name), 9, mtime=0) for a, name in zip(avatars, given, strict=True)]
    ids = [f"avatar-{index}" for index in range(len(packets))]
    html = page_html(
        {"avatars": [{"element": name} for name in ids]},
        policy=_POLICY,
        embedded=[(name, base64.b64encode(packet).decode()) for name, packet in zip(ids, packets, strict=True)],
    )
    with write_atomically(path) as temporary:
        temporary.write_text(html, "utf-8")
    return Path(path)
