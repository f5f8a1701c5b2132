"""Reporting of a run: log, `metrics.jsonl`, TensorBoard events."""
