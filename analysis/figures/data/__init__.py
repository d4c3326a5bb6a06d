"""The content of each figure as plain data: `*_info` computes it from a fit, analysis.figures.drawing draws it.

Losses are in nats per token and LRs are peak LRs. `table()` of each is the same as rows, which `figures/<name>.csv`
has: the column `what` says what of the figure a row is, and a cell is empty where it has no such number.
"""
