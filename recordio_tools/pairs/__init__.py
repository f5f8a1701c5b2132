"""`pairs`: protocols, tables and sampled pairs to verification sets."""
