"""Trusted jobs of CI."""
