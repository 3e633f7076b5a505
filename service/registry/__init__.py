"""The models that are loaded, and the store they come from."""
