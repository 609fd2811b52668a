"""Change requests that are not for one run: changes of rules, and retries."""
