"""Permissions: whether an action is allowed, why, and which rows are visible."""
