"""Image data, networks, and training on them."""
