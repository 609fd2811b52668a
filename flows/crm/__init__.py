"""The bundled CRM pipelines: plain Prefect flows over Parquet files, which know nothing of the portal."""
