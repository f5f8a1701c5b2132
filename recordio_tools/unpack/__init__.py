"""`unpack`: a set to folders of images."""
