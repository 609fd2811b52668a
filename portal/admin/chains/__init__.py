"""Chains: the list, the form that saves a version, and the form that requests a run."""
