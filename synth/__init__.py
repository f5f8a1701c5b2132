"""Posed faces drawn from a seed: people with a shape and a skin of their own, photographed at every yaw, aligned."""
