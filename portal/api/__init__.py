"""The REST API: each route parses, calls a service or a list, and answers."""
