"""Trains runs: one at a time or many at once."""
