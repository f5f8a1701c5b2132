"""`align`: photographs to crops on the 112x112 template."""
