"""Start, await, watch and stop everything the portal runs on, on one machine."""
