"""The parts of `benchmarks/novel_views.py`."""
