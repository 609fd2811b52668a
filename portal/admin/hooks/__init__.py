"""Inbound hooks."""
