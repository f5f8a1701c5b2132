"""Training a face embedding: configuration and presets, data, head, loop, state."""
