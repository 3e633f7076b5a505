"""How good a model is, and whether it may go into production."""
