"""Notification rules: their list, a new one, and the page of one."""
