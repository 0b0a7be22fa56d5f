"""Bridges to other libraries, one file each; conversions of layout and units happen here and nowhere else."""
