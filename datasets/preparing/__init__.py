"""From read cases to checked, memory-mapped arrays and a split of the patients."""
