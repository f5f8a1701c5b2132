"""Commands that try the product for minutes: mutated files for every reader, runs that are killed, memory over time."""
