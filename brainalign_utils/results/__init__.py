"""Derived files of a study to tidy tables."""
