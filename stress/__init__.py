"""Stress tests of minutes: fuzzing of every reader, runs that are killed, memory over time."""
