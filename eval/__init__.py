"""Verification: embeddings of image pairs, and the numbers the field reports for them."""
