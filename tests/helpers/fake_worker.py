"""An RPC worker as far as it is listened to and ended: it accepts connections, one at a time, and says nothing.

fake_worker.py PORT [--complain WORDS]: with words it writes these and exits with code 3 instead.
"""

import socket
import sys


def main() -> None:
    """Serve one connection after the other."""
    if sys.argv[2:3] == ["--complain"]:
        print(sys.argv[3], flush=True)
        sys.exit(3)
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1) as server:
        print("  CPU: a fake one (1 MiB, 1 MiB free)", flush=True)
        while True:
            with server.accept()[0] as one:
                print("Accepted client connection", flush=True)
                while one.recv(100):
                    pass


if __name__ == "__main__":
    main()
