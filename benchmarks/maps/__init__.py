"""Benchmarks of linear maps; each file is one question."""
