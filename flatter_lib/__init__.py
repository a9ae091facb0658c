"""The instrument of the book *Flatter, Faster*: import its modules one by one; this package imports none of them."""
