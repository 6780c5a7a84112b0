"""Device models: conductance, programming noise, drift, read noise. aihwkit's lie in one file, others in their own."""
