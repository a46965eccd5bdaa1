"""Training of Stage 1 in two phases: losses, draws, schedules, the loop and its files (§3.2, §4.2, App. A.2)."""
