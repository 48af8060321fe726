"""From scores and verdicts to preference pairs. In and out: tables; no model, no file, no chance but the seed's.

Stages: dedup, score, actor-pairs, choose, elo, judge-pairs, eft.
"""
