"""The language of scenarios: its model, its loader, and what is told about mistakes."""
