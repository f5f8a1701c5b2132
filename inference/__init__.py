"""Loads a checkpoint and embeds images with it, on any devices; shared by verification, deployment and data tools."""
