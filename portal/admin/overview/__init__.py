"""The first page: what waits, what is wrong, what runs, and how it went; one file a panel."""
