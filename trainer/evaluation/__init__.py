"""Measures a model and decides whether it is promoted."""
