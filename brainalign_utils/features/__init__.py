"""Stimuli and instructions to features: adapters, extraction, and the store of features."""
