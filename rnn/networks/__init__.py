"""What the networks studied are made of: cells, constrained matrices, configurations."""
