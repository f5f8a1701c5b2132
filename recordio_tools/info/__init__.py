"""`info`: summary of a data set."""
