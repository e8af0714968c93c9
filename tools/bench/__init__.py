"""Benchmarks: the function as built, under Lambda's own runtime, beside a floor. Measured, never asserted."""

from tools.bench.measure import main

__all__ = ["main"]
