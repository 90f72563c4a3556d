"""Images from outside: references, archives, layers as tar streams; and bases made on this host."""
