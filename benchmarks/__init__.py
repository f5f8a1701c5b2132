"""Benchmarks: each prints both sides and their ratio in one run."""
