"""The `.rec` and its companion files: frames, index, `property`, names; reading, scanning past damage, writing."""
