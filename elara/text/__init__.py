"""Split and recognise words, sentences and placeholders, alike for every stage."""
