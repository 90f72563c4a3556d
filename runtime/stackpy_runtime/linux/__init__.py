"""System calls and kernel structures: the only room that knows ctypes."""
