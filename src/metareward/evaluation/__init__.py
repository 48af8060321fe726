"""What is measured. In: tables of what checkpoints wrote. Out: `results` rows and metrics.

Stages: evaluate, compare, metrics.
"""
