"""`python -m training.selftest`: everything a training does, tried on a user's own devices against the CPU."""
