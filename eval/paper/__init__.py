"""Scores of runs in the form of the paper's Tables 1 and 2, with the paper's own figures beside them."""
