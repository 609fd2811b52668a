"""The admin, one file a subject."""
