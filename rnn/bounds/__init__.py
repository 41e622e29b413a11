"""What a network provably cannot do: Lipschitz bounds and certified accuracy."""
