"""Train models, and resume trainings."""
