"""Benchmarks of the rotation lane; each file is one table."""
