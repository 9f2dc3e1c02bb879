"""Words and sentences, for every stage alike."""
