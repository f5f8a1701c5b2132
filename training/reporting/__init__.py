"""What a run tells: its log, `metrics.jsonl`, TensorBoard's events."""
