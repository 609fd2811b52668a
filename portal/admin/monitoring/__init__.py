"""Model monitoring."""
