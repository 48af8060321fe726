"""What a person reads of a run: where a row comes from and why, made from the run's tables alone."""
