"""Who is looking: nothing of its own yet."""
