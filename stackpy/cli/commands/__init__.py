"""A module per command: its table of options, then parse → call → render."""
