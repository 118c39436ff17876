"""How any stage is run: options, record, project file, workers, processes, devices."""
