"""SQLite's file format: pages of b-trees are taken apart, copied and joined (bytes and NumPy)."""
