"""Help: the documentation as pages, and the versions of the portal and of the Prefect servers."""
