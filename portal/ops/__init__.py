"""Health endpoints and process probes."""
