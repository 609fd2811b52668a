"""The pages, the API and everything else by which people and programs use the portal."""

# Also in pyproject.toml.
VERSION = "0.1.0"
