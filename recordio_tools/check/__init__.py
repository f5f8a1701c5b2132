"""`check`: what is wrong with a set, and `--repair`."""
