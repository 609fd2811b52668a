"""What Prefect has: deployments and work pools read into Postgres, and each environment's health."""
