"""The representation: Gaussians in triangle frames (§3.1, Eq. 1), the Avatar and its file."""
