"""Stage 2: photometric refinement on a subject's own frames (§3.3)."""
