"""One image file: what it is, its pixels, its alignment, and the bytes that a record holds of it."""
