"""Looking at published versions, and using them on files."""
