"""Synthetic patients written in the official raw layouts, for benchmarks that need no download."""
