"""Find passages that bear on a question, and tie an answer to them."""
