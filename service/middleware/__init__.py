"""WSGI middleware: who may ask, and how many at once."""
