"""The settings of a run: their schema, where they are read from, their defaults."""
