"""Environment drift: how deployments of one name differ between environments, and since when."""
