"""Commands and runs look for garbage rarely: nearly all that they make lives until they end."""

import atexit
import gc

OBJECTS = 100_000
"""So many more objects before garbage is looked for."""


def collect_rarely() -> None:
    """From here to the end of the process, at which memory goes back whole and need not be searched."""
    gc.set_threshold(OBJECTS, 20, 100)
    atexit.register(gc.freeze)
