"""The frame of a stage: name, folders and seed, how it begins and ends; journals, DVC's locks, a run's plan."""
