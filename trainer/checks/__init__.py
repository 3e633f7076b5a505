"""What a person should know about the data before a network learns from it."""
