"""From source to page: source -> executed -> checked -> published; and the command line."""
