"""Synthetic posed faces from a seed: identities with their own shape and skin, rendered at every yaw, and aligned."""
