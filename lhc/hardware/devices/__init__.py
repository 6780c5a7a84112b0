"""Device models: conductance, programming noise, drift and read noise. aihwkit's lie in one file, each other in its own."""
