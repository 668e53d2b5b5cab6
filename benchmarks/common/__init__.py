"""What every package here may import: errors, files, progress, signals and checked blocks."""
