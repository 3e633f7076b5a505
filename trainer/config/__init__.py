"""The settings of a run: their schema, their defaults and where they come from."""
