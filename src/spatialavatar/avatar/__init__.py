"""The representation: Gaussians in triangle frames (§3.1, Eq. 1), the Avatar, its file and its exports."""
