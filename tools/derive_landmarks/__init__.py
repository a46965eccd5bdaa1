"""Derives where MediaPipe's landmarks lie on the open head, by showing it painted heads. See `docs/open_head.md`."""
