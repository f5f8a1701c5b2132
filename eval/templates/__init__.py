"""Protocols whose unit is a template, several images of one person: IJB-B and IJB-C, and folders of one's own."""
