"""The local engine: transformers on one CPU or GPU."""
