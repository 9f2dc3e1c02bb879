"""Show figures, tables and progress in notebooks."""
