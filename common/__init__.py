"""What every part of the house uses: errors with an exit status, atomic files, the environment."""
