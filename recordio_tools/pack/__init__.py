"""`pack`: folders, lists and tables of images to a packed set."""
