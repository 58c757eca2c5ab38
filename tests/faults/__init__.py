"""What is written is killed, and refused, at every call that reaches the disk: `make faults`."""
