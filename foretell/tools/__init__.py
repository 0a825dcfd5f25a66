"""What stands on top of trained models: demonstrations, descriptions, diagnoses."""
