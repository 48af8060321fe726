"""SFT and DPO. In: a checkpoint and a table of examples or pairs. Out: the next checkpoint and its metrics.

Stages: sft, dpo.
"""
