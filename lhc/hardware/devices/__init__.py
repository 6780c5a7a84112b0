"""Device models: conductance, programming noise, drift and read noise; one file a model."""
