"""Plans, problems and progress as text and JSON."""
