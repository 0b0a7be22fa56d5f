"""Side by side with peers, in one process, reported as ratios: `python -m benchmarks.so3.uvu`."""
