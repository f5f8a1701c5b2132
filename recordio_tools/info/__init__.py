"""`info`: what a set holds."""
