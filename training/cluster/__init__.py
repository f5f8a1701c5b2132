"""Distributed training: starting the processes, reducing gradients, detecting failures."""
