"""The classification layer a face embedding is trained with: whole, sharded, sampled."""
