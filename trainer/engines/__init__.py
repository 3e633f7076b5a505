"""Where the networks of an ensemble are fitted: in this process, or in several."""
