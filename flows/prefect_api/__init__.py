"""One Prefect environment over HTTP: the only code that talks to Prefect."""
