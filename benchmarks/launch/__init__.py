"""Many runs on many machines: what a worker does, and three ways to start workers."""
