"""Animatable 3D heads from a few photos or a short video."""

__version__ = "0.1.0"
