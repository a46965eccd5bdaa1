"""Motions to drive an avatar with: recordings of people, ARKit tables, motion files, built-in shows."""
