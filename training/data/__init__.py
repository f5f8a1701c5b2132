"""Batches of a packed set, in an order that the seed and the position decide."""
