"""`python -m training.selftest`: tests all that training does on the user's devices, against the CPU."""
