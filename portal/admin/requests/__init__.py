"""Run requests."""
