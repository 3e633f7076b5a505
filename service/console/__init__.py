"""The web page: which models are live, how they fare, and a place to try them."""
