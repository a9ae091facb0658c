"""What Sphinx adds to the pages of the book, one module a subject; :mod:`flatter_lib.publish.sphinx` puts them in."""
