"""The fast form of a built network for this machine, see :mod:`focalnets.engine.accelerate`."""
