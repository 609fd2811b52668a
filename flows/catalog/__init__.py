"""The catalog: deployments and work pools synced from Prefect, and the health of each server."""
