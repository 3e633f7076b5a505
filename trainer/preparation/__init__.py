"""Prepares data for training."""
