"""Deployments that have to be assigned."""
