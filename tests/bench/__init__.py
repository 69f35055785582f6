"""Benchmarks: what `make bench` prints. They assert nothing; ratios are measured side by side in
one run.
"""
