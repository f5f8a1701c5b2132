"""Template-based protocols, several images of one identity per template: IJB-B, IJB-C, and own folders."""
