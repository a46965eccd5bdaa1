"""Animatable 3D heads from a few photos or a short video."""

import os

# Torch's OpenMP threads spin for a while after each operation and so take the processor away from the rasteriser's own
# threads (measured: 33 against 27 ms for a refinement step on two cores). OpenMP reads these when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

__version__ = "0.1.0"
