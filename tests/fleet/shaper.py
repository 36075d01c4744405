#!/usr/bin/env python3
"""A network of a known speed, for tests on a kernel without netem: one TUN device in each of some network namespaces, and this
process between them, which holds each packet until its link has carried it.

    shaper.py NAMES LINK...     e.g. shaper.py a,b,c,d a-b=400e6:2e-3 c-d=400e6:2e-3 default=100e6:10e-3

A link has a rate in bit/s and a latency in seconds, one way. Namespace number i (from 1) gets the address 10.77.0.i. A line
`ready` on standard output says that packets pass. It ends on a signal; the devices end with it.
"""
import ctypes
import fcntl
import heapq
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
# Few large packets, so that this process keeps up.
MTU = 60000
CLONE_NEWNET = 0x40000000


def tun_in(name, address):
    """A TUN device in a namespace; its packets come to the file that is returned."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/var/run/netns/{name}", os.O_RDONLY)
    if libc.setns(there, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"cannot enter the namespace {name}")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"shaped", IFF_TUN | IFF_NO_PI))
    for command in (f"addr add {address}/24 dev shaped", f"link set shaped mtu {MTU} txqueuelen 5000 up", "link set lo up"):
        subprocess.run(["ip", *command.split()], check=True)
    libc.setns(home, CLONE_NEWNET)
    os.close(home), os.close(there)
    return device


def links(names, texts):
    """Bytes per second and latency, by sender and receiver."""
    found = {}
    for text in texts:
        ends, values = text.split("=")
        rate, latency = (float(value) for value in values.split(":"))
        found[ends] = (rate / 8, latency)
    of = lambda a, b: found.get(f"{a}-{b}") or found.get(f"{b}-{a}") or found["default"]
    return {(i, j): of(a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i != j}


def forward(devices, speed):
    free = dict.fromkeys(speed, 0.0)
    held, count = [], 0
    by_file = {device: i for i, device in enumerate(devices)}
    while True:
        rest = max(0.0, held[0][0] - time.monotonic()) if held else None
        ready, _, _ = select.select(devices, [], [], rest)
        now = time.monotonic()
        while held and held[0][0] <= now:
            _, _, to, packet = heapq.heappop(held)
            try:
                os.write(devices[to], packet)
            except BlockingIOError:
                pass
        for device in ready:
            for _ in range(16):
                try:
                    packet = os.read(device, MTU + 100)
                except BlockingIOError:
                    break
                # IPv4 alone: the last byte of the destination says which namespace it goes to.
                if packet[0] >> 4 != 4:
                    continue
                way = (by_file[device], packet[19] - 1)
                if way not in speed:
                    continue
                rate, latency = speed[way]
                free[way] = max(free[way], time.monotonic()) + len(packet) / rate
                count += 1
                heapq.heappush(held, (free[way] + latency, count, way[1], packet))


def main():
    names = sys.argv[1].split(",")
    speed = links(names, sys.argv[2:])
    devices = [tun_in(name, f"10.77.0.{i + 1}") for i, name in enumerate(names)]
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    except PermissionError:
        pass
    print("ready", flush=True)
    forward(devices, speed)


if __name__ == "__main__":
    main()
