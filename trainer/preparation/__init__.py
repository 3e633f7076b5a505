"""From a data set to the arrays that a network learns from."""
