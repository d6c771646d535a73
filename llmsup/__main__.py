"""`python -m llmsup`: the same as the program `llmsup`.

It does not know any command.
"""

from .cli import main

if __name__ == "__main__":
    main()
