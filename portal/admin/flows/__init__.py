"""Flows: the list and the page of one, with its deployments in each environment."""
