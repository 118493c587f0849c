"""Controllers, which drive the parameters of processors."""
