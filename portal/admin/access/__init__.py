"""Grants, people and groups."""
