"""The content of each figure as plain data: `*_info` computes it from a fit, analysis.figures.drawing draws it.

Losses are in nats per token and LRs are peak LRs.
"""
