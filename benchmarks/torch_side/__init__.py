"""The networks, the margin and the step in PyTorch, for comparison; nothing here imports MXNet."""
