"""Scheduled retraining, and notifications about its runs."""
