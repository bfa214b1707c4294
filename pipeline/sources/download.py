"""Bounded, polite, concurrent downloads of image URLs that nobody vouches for.

Every connection, the first and each redirect's, goes through `_CheckedNetwork`: it resolves the host,
refuses addresses that are not public, and connects to the very address it checked, so that a name that
resolves differently the second time gains nothing. Its deadline covers connecting, the TLS handshake,
headers and body together. Proxy settings of the environment are not used; resolving a name is bounded
by the system's resolver.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import httpcore2 as httpcore
import httpx2 as httpx
from pydantic import BaseModel, ConfigDict, Field

from pipeline.sources.registry import first_line

_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = [
    ("User-Agent", "conceptual-blindspots/1.0 (research; one request per image)"),
    ("Accept", "image/*"),
    ("Accept-Encoding", "identity"),  # a compressed body could be far larger than the limit
]
_OPT_OUT = {"noai", "noimageai"}

Item = TypeVar("Item")
Result = TypeVar("Result")


class DownloadLimits(BaseModel):
    """What one URL may cost, and how many are asked at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(default=20.0, gt=0)  # s, for one URL in all, redirects included
    max_bytes: int = Field(default=20_000_000, ge=1)  # bytes of one body
    max_redirects: int = Field(default=5, ge=0)  # hops after the first request
    workers: int = Field(default=32, ge=1)  # downloads at a time
    per_host: int = Field(default=4, ge=1)  # downloads at a time from one host
    respect_opt_out: bool = True  # leave images whose X-Robots-Tag says noai or noimageai
    allow_private_addresses: bool = False  # also private, loopback and link-local addresses


LIMITS = DownloadLimits()


@dataclass(frozen=True)
class Fetched:
    """The bytes of one image, or the sentence that says why there are none."""

    data: bytes | None
    error: str | None = None


class Downloader:
    """Fetches URLs within `limits`. Safe to share among threads."""

    def __init__(self, limits: DownloadLimits = LIMITS):
        self.limits = limits
        self._tls = ssl.create_default_context()
        self._hosts: dict[str, threading.Semaphore] = {}
        self._lock = threading.Lock()

    def fetch(self, url: str) -> Fetched:
        """The body of `url`, or a one-sentence error; a dead URL never raises."""
        deadline = None
        try:
            target = httpx.URL(url)  # percent-encodes what is not ASCII, as browsers do
            for _ in range(self.limits.max_redirects + 1):
                _check_scheme(target)
                with self._turn(target.host):
                    # The clock starts with the first request, not while waiting for a turn at a busy host.
                    deadline = deadline or time.monotonic() + self.limits.seconds
                    answer = self._request(target, deadline)
                if isinstance(answer, bytes):
                    return Fetched(answer)
                target = target.join(answer)
            return Fetched(None, f"more than {self.limits.max_redirects} redirects.")
        except _RefusedError as error:
            return Fetched(None, str(error))
        except httpcore.TimeoutException:
            return Fetched(None, f"{_short(url)} gave no complete answer within {self.limits.seconds:g} s.")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return Fetched(None, f"the connection to {_short(url)} failed ({first_line(error)}).")
        except (httpx.InvalidURL, ValueError) as error:  # ValueError: a host that no resolver or TLS takes
            return Fetched(None, f"{_short(url)} is not a usable URL ({error}).")

    def fetch_all(self, urls: Iterable[str]) -> Iterator[Fetched]:
        """One result per URL, in the order of `urls`, fetched by a pool of threads."""
        return threaded(self.fetch, urls, self.limits.workers)

    def _turn(self, host: str) -> threading.Semaphore:
        with self._lock:
            return self._hosts.setdefault(host, threading.Semaphore(self.limits.per_host))

    def _request(self, url: httpx.URL, deadline: float) -> bytes | str:
        """The body, or the address of a redirect."""
        network = _CheckedNetwork(deadline, self.limits.allow_private_addresses)
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=network) as pool,
            pool.stream("GET", target, headers=_HEADERS) as response,
        ):
            headers = {name.decode().lower(): text.decode("latin-1") for name, text in response.headers}
            if response.status in _REDIRECTS and "location" in headers:
                return headers["location"]
            if response.status != 200:
                raise _RefusedError(f"{_short(str(url))} answered with HTTP status {response.status}.")
            self._check_headers(headers)
            return self._body(response.iter_stream())

    def _check_headers(self, headers: dict[str, str]) -> None:
        robots = {word.strip().lower() for word in headers.get("x-robots-tag", "").split(",")}
        if self.limits.respect_opt_out and robots & _OPT_OUT:
            raise _RefusedError(f"the site opts out of such use (X-Robots-Tag: {headers['x-robots-tag']}).")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.limits.max_bytes:
            raise _RefusedError(f"the file has {int(length):,} bytes, above {self.limits.max_bytes:,}.")

    def _body(self, chunks: Iterable[bytes]) -> bytes:
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > self.limits.max_bytes:
                raise _RefusedError(f"the file has more than {self.limits.max_bytes:,} bytes.")
        return bytes(body)


def threaded(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`work` of each item by a pool of threads, in the items' order; at most 2 x `workers` results wait, so
    that memory stays bounded however slowly they are taken. An exception of `work` is raised in its place."""
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class _RefusedError(Exception):
    """One sentence: what we do not fetch, and why."""


def _check_scheme(url: httpx.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise _RefusedError(f"{_short(str(url))} is not an http or https URL.")


def _short(url: str) -> str:
    return url if len(url) <= 100 else f"{url[:97]}..."


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        nat64 = ip in ipaddress.ip_network("64:ff9b::/96")
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(ip.packed[-4:]) if nat64 else None)
        ip = inner or ip
    return ip.is_global and not ip.is_multicast


class _CheckedNetwork(httpcore.NetworkBackend):
    """Connects to public addresses only (unless `allow_private`) and lets nothing outlast the deadline."""

    def __init__(self, deadline: float, allow_private: bool):
        self._deadline = deadline
        self._allow_private = allow_private
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        private = [address for address in addresses if not _is_public(address)]
        if private and not self._allow_private:
            raise _RefusedError(f"{host} is at {private[0]}, not a public address (allow_private_addresses).")
        for address in addresses[:-1]:
            try:
                return self._connect(address, port)
            except httpcore.NetworkError:
                continue  # a host with several addresses: the next one may answer
        return self._connect(addresses[-1], port)

    def _connect(self, address: str, port: int) -> "_TimedStream":
        return _TimedStream(self._tcp.connect_tcp(address, port, _left(self._deadline)), self._deadline)


class _TimedStream(httpcore.NetworkStream):
    """A stream whose every operation has what is left until the deadline, so that a server that sends a
    byte now and then gains no time."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float):
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes, timeout=None):
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer, timeout=None):
        return self._stream.write(buffer, _left(self._deadline))

    def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        stream = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _TimedStream(stream, self._deadline)

    def close(self):
        self._stream.close()

    def get_extra_info(self, info):
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("deadline")
    return left
