"""From a file or a live module to named matrices: every holder has a room; `rnn.weights` is the door."""
