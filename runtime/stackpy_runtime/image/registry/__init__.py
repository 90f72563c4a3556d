"""Registries: the OCI distribution specification, as a client."""
