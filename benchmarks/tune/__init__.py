"""Search of method parameters on validation patients, with the same budget for every method."""
