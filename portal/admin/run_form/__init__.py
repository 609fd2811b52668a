"""The form that requests a run, its confirmation and reruns."""
