"""Metrics, drift and the log of payloads."""
