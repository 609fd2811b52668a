"""Work pools: the list and the page of one, with its queues and workers."""
