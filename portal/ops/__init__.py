"""Health endpoints of the web process, and probes for containers."""
