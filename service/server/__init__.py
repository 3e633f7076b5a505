"""gunicorn: its configuration, its worker, and what its processes share."""
