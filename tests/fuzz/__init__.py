"""Real files are changed in their structure, and merged: `make fuzz`."""
