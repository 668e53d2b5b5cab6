"""Obtaining raw data: downloads, archives, addresses."""
