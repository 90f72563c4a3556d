"""What the engine keeps on disk: the SQLite index, layers, locks, and the collection of what nothing refers to."""
