"""Executed notebooks to a book and an archive."""
