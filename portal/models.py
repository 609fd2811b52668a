"""The portal has no models of its own; Django requires the module."""
