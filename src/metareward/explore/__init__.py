"""What a person reads of a run, made from its tables alone: where a row comes from and why; the report."""
