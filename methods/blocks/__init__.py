"""Building blocks shared by the method files; each formula stands here once, with its source."""
