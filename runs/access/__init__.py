"""Whether an action is allowed, and what is visible to whom."""
