"""Pictures of trainings, predictions and chains, as PNG files and as text."""
