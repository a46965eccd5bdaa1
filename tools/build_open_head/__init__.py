"""Rebuilds the open head's asset from MakeHuman's CC0 data, byte for byte. See `docs/open_head.md`."""
