"""Answering requests, apart from HTTP."""
