"""`align`: photographs to aligned 112x112 face crops."""
