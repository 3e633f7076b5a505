"""Retraining on a schedule, and telling people how it went."""
