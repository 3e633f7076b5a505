"""One file a dialect: they translate, and leave everything else to `inference`."""
