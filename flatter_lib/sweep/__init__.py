"""Many runs of an experiment, here or on a cluster, whatever happens to those who make them."""
