"""Checks of the data before training; each finding is a sentence for the user."""
