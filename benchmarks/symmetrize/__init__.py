"""What making a model symmetric costs, as a multiple of the bare model."""
