"""What the machine says about its memory, one small file a source, and how hard it is pressed."""
