"""Channels: the list, a new one, their pages, and what was sent to them."""
