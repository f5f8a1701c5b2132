"""One image file: its format, pixels and alignment, and its encoded form in a record."""
