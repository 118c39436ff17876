"""The images of a dataset and what people and detectors said of each."""
