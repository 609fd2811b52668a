"""Failure groups: their list, and the page of one."""
