"""One end of a transfer by the kernel's TCP, for bench:loss and bench:fairness.

    linux_peer.py recv PORT SECONDS [AHEAD]
    linux_peer.py send HOST PORT SECONDS [CONTROLLER]

recv takes one connection and counts for SECONDS, from AHEAD seconds after its first byte on. Each
prints one JSON line when it is ready (recv) and one at its end. Buffers are
left to the kernel's auto-tuning: see the sysctls in linux.ts.
"""

import json
import socket
import struct
import sys
import time

TCP_CONGESTION = 13
BLOCK = bytes(256 * 1024)


def say(**values):
    print(json.dumps(values), flush=True)


def info(connection):
    """What of struct tcp_info (include/uapi/linux/tcp.h) the report shows."""
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    word = lambda at: struct.unpack_from("=I", raw, at)[0] if len(raw) >= at + 4 else None
    return {
        "rttMs": word(68) / 1000,
        "cwnd": word(80),
        "retransmits": word(100),
        "dsacks": word(212),
        "reorderingSeen": word(216),
    }


def receive(port, seconds, ahead):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(1)
    say(ready=True)
    connection, _ = listener.accept()
    view = memoryview(bytearray(1 << 20))
    total = connection.recv_into(view)
    begin = time.monotonic() + ahead
    total = 0
    try:
        while time.monotonic() < begin:
            connection.settimeout(max(0.001, begin - time.monotonic()))
            if connection.recv_into(view) == 0:
                break
    except TimeoutError:
        pass
    try:
        while True:
            left = begin + seconds - time.monotonic()
            if left <= 0:
                break
            connection.settimeout(left)
            count = connection.recv_into(view)
            if count == 0:
                break
            total += count
    except TimeoutError:
        pass
    say(bytes=total, seconds=time.monotonic() - begin)


def send(host, port, seconds, controller):
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, controller.encode())
    connection.connect((host, port))
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            connection.send(BLOCK)
    except (TimeoutError, ConnectionError):
        pass
    used = connection.getsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, 16).rstrip(b"\0").decode()
    say(controller=used, **info(connection))
    # The rest of the queue is of no use to anyone: reset.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


if sys.argv[1] == "recv":
    receive(int(sys.argv[2]), float(sys.argv[3]), float((sys.argv[4:] or ["0"])[0]))
else:
    send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), (sys.argv[5:] or ["cubic"])[0])
