"""Query, key and value of attention."""
