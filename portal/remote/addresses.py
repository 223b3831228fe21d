"""Which IP addresses may be connected to: public ones, and those that the operator allows."""

import ipaddress
import queue
import socket
import threading

from portal.config import settings
from portal.remote.problems import RequestRefused, Unreachable

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

PORTS = (80, 443)
NOT_PUBLIC = "This address is not on the public internet. Only the operator of this portal can allow it."

# IANA's special-purpose address registries, as of 2026. Python's own tables differ between releases and call some
# of these "global".
_SPECIAL_IPV4 = [
    ipaddress.IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 is Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's wire server, within public space
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")  # all global unicast space allocated so far
_SPECIAL_IPV6 = [
    ipaddress.IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments, Teredo and ORCHID among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries any IPv4 address, private ones too
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]
_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


def is_public(address: IpAddress) -> bool:
    """Return whether an address is on the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in net for net in _SPECIAL_IPV4)
    return address in _PUBLIC_IPV6 and not any(address in net for net in _SPECIAL_IPV6)


def may_reach(address: IpAddress, port: int) -> bool:
    """Return whether a connection is allowed: to a public address at a web port, or to ALLOWED_PRIVATE_NETS at any."""
    if any(address in net for net in settings().allowed_private_nets):
        return True
    return port in PORTS and is_public(address)


def resolve(host: str, port: int, *, timeout_s: float) -> list[IpAddress]:
    """Resolve a host once, so that the addresses checked are the ones connected to.

    Raises RequestRefused (`blocked_address`) if any address is not allowed, and Unreachable.
    """
    try:
        addresses = [ipaddress.ip_address(host)]
    except ValueError:
        addresses = _look_up(host, port, timeout_s)
    if not addresses or not all(may_reach(address, port) for address in addresses):
        raise RequestRefused("This host has no public address.", code="blocked_address")
    return addresses


def _look_up(host: str, port: int, timeout_s: float) -> list[IpAddress]:
    """Resolve a name in a thread, because the system's resolver takes no deadline. The thread ends within a minute."""
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
            answers.put([str(address[0]) for *_, address in found])
        except OSError as error:
            answers.put(error)

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    try:
        received = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise Unreachable("Looking up the host took too long.", code="timeout") from None
    if isinstance(received, socket.gaierror) and received.errno in _NO_SUCH_NAME:
        return []
    if isinstance(received, OSError):
        raise Unreachable("The host could not be looked up.") from received
    return [ipaddress.ip_address(text) for text in received]
