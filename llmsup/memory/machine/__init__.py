"""What the machine reports about its memory, one small file per source, and the pressure level derived from it."""
