"""The files a user supplies, read into tables, and the seed model.

In: paths of params. Out: prompts, replies, EFT examples, models/seed. Stages: seed, prompts, eft-judge, eft, evaluate,
compare.
"""
