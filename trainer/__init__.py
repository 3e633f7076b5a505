"""From data to a published version."""
