"""The address of inbound hooks."""
