"""The networks of a run and the loop that fits them."""
