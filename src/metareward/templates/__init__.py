"""The texts that judge, meta-judge and referee are given, and how the closing line of what they write is read.

In: the template files; a generated text. Out: filled templates; a score or a winner, or why there is none.
"""
