"""Bridges, addresses, published ports and names of containers."""
