"""Workers: who scores which unit of work, in processes or on a Dask cluster."""
