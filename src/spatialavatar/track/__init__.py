"""Photos or video in, a TrackedSequence out."""
