"""What a run writes so that nothing is lost: checkpoints, the state, files that grow."""
