"""Endurance of a training run: `torture` (kills), `combinations` (kills, random flags), `soak` (memory leaks)."""
