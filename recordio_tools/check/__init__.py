"""`check`: validation of data sets, and `--repair`."""
