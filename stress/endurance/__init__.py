"""Endurance tests of a training run: `torture` (kills, full disks), `soak` (memory leaks)."""
