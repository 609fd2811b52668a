"""Bypasses: the list of what can start runs in protected environments without the portal."""
