"""Show things: figures, tables, progress."""
