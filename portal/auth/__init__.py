"""Sign-in, permissions for Django's admin, and the user of a request."""
