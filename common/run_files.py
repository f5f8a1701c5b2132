"""Names of the files that a training leaves beside its checkpoints."""
from __future__ import annotations

METRICS, LOG, CONFIG = "metrics.jsonl", "log.txt", "config.json"
