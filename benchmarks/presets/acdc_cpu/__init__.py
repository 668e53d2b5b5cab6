"""ACDC at a size that a CPU can train."""
