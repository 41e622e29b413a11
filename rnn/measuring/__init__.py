"""The measures of one matrix, and of its rounding to other number formats."""
