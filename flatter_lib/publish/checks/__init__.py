"""The checks of a book's hygiene, one subject a module; ``publish.hygiene`` runs them all."""
