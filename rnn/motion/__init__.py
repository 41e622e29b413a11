"""The states of a network in motion: cells, Jacobians, exponents, fixed points, growth, kicks."""
