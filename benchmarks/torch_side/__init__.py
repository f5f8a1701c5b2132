"""The networks, the margin and the step in PyTorch, as a peer to measure against; nothing here imports MXNet."""
