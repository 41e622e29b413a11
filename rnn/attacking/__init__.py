"""What attacks are made of and judged by; `rnn.attacks` lists them, `rnn.harness` runs them."""
