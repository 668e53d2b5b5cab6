"""From a parameter file to runs: where files are, which runs there are, what each depends on."""
