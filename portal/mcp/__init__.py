"""Tools for AI agents (Model Context Protocol), at /mcp."""
