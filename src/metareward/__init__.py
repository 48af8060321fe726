"""Meta-Rewarding (Wu et al. 2024, arXiv 2407.19594) as a data pipeline."""
