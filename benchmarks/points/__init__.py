"""Networks of points and their data against their peers."""
