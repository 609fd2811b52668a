"""Ways past the portal: the list of what starts runs in protected environments without it."""
