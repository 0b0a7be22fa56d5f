"""Benchmarks of interatomic potentials."""
