"""Keeps a network namespace alive, and makes sockets in it for whoever has the other end of its standard input.

A socket stays in the namespace that it was made in, whoever uses it; so a test talks from any of its hosts without a
process there for each conversation. It ends, and its namespace with it, when that other end is closed: by the test, or
by the system if the test was killed.
"""

import socket


def main() -> None:
    """Answer "FAMILY KIND PROTOCOL" with such a socket, or with what is in the way."""
    with socket.socket(fileno=0) as control:
        control.send(b"ready")
        while asked := control.recv(100):
            try:
                with socket.socket(*map(int, asked.split())) as made:
                    socket.send_fds(control, [b"made"], [made.fileno()])
            except OSError as error:
                control.send(str(error).encode())


if __name__ == "__main__":
    main()
