"""Saving: checkpoints, the state for resume, append-only files."""
