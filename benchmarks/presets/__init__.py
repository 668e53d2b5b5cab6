"""Benchmarks with their own parameters and pipeline."""
