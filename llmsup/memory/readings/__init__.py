"""What the machine says about its memory: one small file for each that can be asked, and a sampler in front of them.

It does not know what a model costs, nor what follows from a reading: it gives values, and None for what is unknown.
"""

from .reading import Gpu, Level, Reading, Stall
from .sampler import Sampler

__all__ = ["Gpu", "Level", "Reading", "Sampler", "Stall"]
