"""A published model in another format: the whole of it, its encoding included."""
