"""Live page updates."""
