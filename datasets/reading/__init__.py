"""From raw files to arrays in memory: images, masks, layouts."""
