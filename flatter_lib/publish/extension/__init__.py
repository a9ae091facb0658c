"""What Sphinx adds to the book, and holds of its text; :mod:`flatter_lib.publish.sphinx` puts the parts in."""
