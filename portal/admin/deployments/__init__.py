"""Deployments and their aliases."""
