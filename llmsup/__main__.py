"""`python -m llmsup`: the same as the program `llmsup`."""

from .cli import main

if __name__ == "__main__":
    main()
