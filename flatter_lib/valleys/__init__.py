"""Losses with a manifold of minimisers."""
