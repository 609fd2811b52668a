"""The profile: what each user sees and sets of their own account."""
