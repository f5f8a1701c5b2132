"""Batches of a packed set, in an order determined by seed and position."""
