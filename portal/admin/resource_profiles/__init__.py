"""Resource profiles: the list, a new one, and the page of one."""
