"""The report of one or several models: a self-contained HTML page."""
