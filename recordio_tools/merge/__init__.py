"""`merge`: several sets to one, less the people who must not be in it."""
