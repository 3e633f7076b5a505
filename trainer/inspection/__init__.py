"""Published versions: lists, comparisons, and inference on data sets."""
