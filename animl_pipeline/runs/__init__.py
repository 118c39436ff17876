"""The folder of a training run, and what a run was trained on."""
