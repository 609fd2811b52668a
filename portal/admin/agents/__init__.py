"""Pages of AI agents."""
