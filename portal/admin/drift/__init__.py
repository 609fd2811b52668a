"""Environment drift: the list of differences between environments, and the page of one deployment in all of them."""
