"""`pairs`: protocols, tables and draws of pairs to verification sets."""
