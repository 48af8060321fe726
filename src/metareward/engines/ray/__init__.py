"""Workers on a Ray cluster, each with one of the engines."""
