"""`merge`: several sets to one, without excluded identities."""
