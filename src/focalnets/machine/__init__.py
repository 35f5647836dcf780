"""What the package needs to know of the machine it runs on: devices, processes, helper processes, memory, time."""
