"""Training as part of the pipeline: for which placement, and whether its result is kept."""
