"""Commands that try for minutes what a training run must survive: `torture` (kills, full disks), `soak` (memory)."""
