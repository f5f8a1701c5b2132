"""The `.rec` and what stands beside it: frames, index, `property`, names; read, scanned past damage, written."""
