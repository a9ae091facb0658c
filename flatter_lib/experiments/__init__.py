"""One module an experiment: its configuration, its profiles, what a run measures and what it costs."""
