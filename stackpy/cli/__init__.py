"""The command line: one module per command over rooms that know nothing of it."""
