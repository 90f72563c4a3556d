"""What users write, and the frozen specs it becomes. Pure: no file, clock, process or environment is read here."""
