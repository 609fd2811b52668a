"""Policies, change windows, freezes, grants: what a run needs, and who may change that."""
