"""A first avatar from tracked photos, in one pass."""
