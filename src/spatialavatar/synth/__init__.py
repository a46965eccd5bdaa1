"""Subjects made from nothing: random people on the open head, drawn by a mesh renderer, with exact ground truth."""
