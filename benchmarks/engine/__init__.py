"""The one training loop. Nothing here names a method."""
