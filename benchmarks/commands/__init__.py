"""Commands of the command line, grouped by topic."""
