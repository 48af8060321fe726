"""The roles of the one model. For each: its requests to an engine, and the table of what comes back.

In: tables and templates. Out: requests; the tables responses, judgments, battles, comparisons. Requests come in the
order in which neighbours share the longest prefix. Stages: respond, judge, eft-judge, meta-judge, evaluate, compare.
"""
