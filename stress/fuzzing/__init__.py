"""Mutated files for every reader of `recordio_tools`: `python -m stress.fuzzing --help`."""
