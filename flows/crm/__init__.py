"""The bundled CRM pipelines: plain Prefect flows over Parquet files. They do not import the portal."""
