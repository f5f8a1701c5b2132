"""Shared by all packages: errors with an exit status, atomic files, the environment."""
