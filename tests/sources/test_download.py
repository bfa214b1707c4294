"""Downloads from a local server that misbehaves in every way we know of."""

import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.sources.download import Downloader, DownloadLimits, _is_public, threaded

BODY = b"0123456789" * 100


class _Handler(BaseHTTPRequestHandler):
    hosts: list[str] = []  # noqa: RUF012
    busy = most = 0
    lock = threading.Lock()

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.hosts.append(self.headers["Host"])
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has had enough
            getattr(self, self.path.split("/")[1].split("?")[0])()

    def answer(self, body=BODY, status=200, **headers):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def ok(self):
        with self.lock:
            _Handler.busy += 1
            _Handler.most = max(self.most, self.busy)
        time.sleep(0.02)
        with self.lock:
            _Handler.busy -= 1
        self.answer()

    def gone(self):
        self.answer(b"", 404)

    def large(self):
        self.answer(BODY * 10)

    def large_unannounced(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(10):
            self.wfile.write(BODY)

    def drip(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(100):  # each byte in time, the whole never
            self.wfile.write(b".")
            time.sleep(0.05)

    def drip_headers(self):
        for _ in range(100):
            self.wfile.write(b"H")
            time.sleep(0.05)

    def loop(self):
        self.answer(b"", 302, Location="/loop")

    def hop(self):
        self.answer(b"", 307, Location="../ok")

    def to_other_scheme(self):
        self.answer(b"", 301, Location="file:///etc/passwd")

    def to_private(self):
        self.answer(b"", 302, Location="http://private.test/ok")

    def cut(self):
        self.answer(BODY[:10], Content_Length="1000")

    def no_ai(self):
        self.answer(X_Robots_Tag="noarchive, NoAI")


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def fetch(url: str, **limits):
    defaults = {"seconds": 5, "max_bytes": 5000, "allow_private_addresses": True}
    return Downloader(DownloadLimits.model_validate(defaults | limits)).fetch(url)


def test_ok_and_redirected(server):
    assert fetch(f"{server}/ok").data == BODY
    assert fetch(f"{server}/ok?caf\u00e9=1").data == BODY
    assert fetch(f"{server}/hop/here").data == BODY
    assert _Handler.hosts[-1] == server.removeprefix("http://")


@pytest.mark.parametrize(
    ("path", "limits", "sentence"),
    [
        ("/gone", {}, "answered with HTTP status 404"),
        ("/large", {}, "the file has 10,000 bytes, above 5,000"),
        ("/large_unannounced", {}, "the file has more than 5,000 bytes"),
        ("/drip", {"seconds": 0.3}, "no complete answer within 0.3 s"),
        ("/drip_headers", {"seconds": 0.3}, "no complete answer within 0.3 s"),
        ("/loop", {"max_redirects": 3}, "more than 3 redirects"),
        ("/to_other_scheme", {}, "passwd is not an http or https URL"),
        ("/cut", {}, "failed"),
        ("/no_ai", {}, "opts out"),
    ],
)
def test_dead_urls_give_one_sentence(server, path, limits, sentence):
    start = time.monotonic()
    fetched = fetch(server + path, **limits)
    assert fetched.data is None and sentence in fetched.error
    assert "\n" not in fetched.error and time.monotonic() - start < 3


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/x",
        "http://",
        "data:image/png;base64,AAAA",
        "http://host/\n",
        "http://.com/",
        "x" * 999,
    ],
)
def test_unusable_urls_give_one_sentence(url):
    fetched = fetch(url)
    assert fetched.data is None and fetched.error.endswith(".") and len(fetched.error) < 250


def test_opt_out_can_be_overridden(server):
    assert fetch(f"{server}/no_ai", respect_opt_out=False).data == BODY


def test_private_addresses_are_refused(server):
    assert "127.0.0.1, not a public address" in fetch(f"{server}/ok", allow_private_addresses=False).error


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),  # cloud metadata
        ("100.64.0.1", False),  # carrier's own
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),  # IPv4 in IPv6 clothes, three fashions
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address, public):
    assert _is_public(address) is public


@pytest.fixture
def names(monkeypatch):
    """A resolver of our own: `public.test` has an address that counts as public and leads to our server."""
    asked, addresses = [], {"public.test": "93.184.216.34", "private.test": "10.0.0.1"}
    look_up, connect = socket.getaddrinfo, socket.create_connection

    def resolve(host, port, *args, **options):
        if host in addresses:
            asked.append(host)
        return look_up(addresses.get(host, host), port, *args, **options)

    def connect_locally(address, *args, **options):
        asked.append(address[0])
        return connect(("127.0.0.1", address[1]), *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect_locally)
    return asked


def test_connects_to_the_address_it_checked(server, names):
    port = server.rpartition(":")[2]
    assert fetch(f"http://public.test:{port}/ok", allow_private_addresses=False).data == BODY
    assert names == ["public.test", "93.184.216.34"]  # resolved once: a second answer has no say
    assert _Handler.hosts[-1] == f"public.test:{port}"


def test_redirect_to_a_private_address_is_refused(server, names):
    port = server.rpartition(":")[2]
    fetched = fetch(f"http://public.test:{port}/to_private", allow_private_addresses=False)
    assert "private.test is at 10.0.0.1, not a public address" in fetched.error
    assert "10.0.0.1" not in names


def test_many_in_order_and_politely(server):
    urls = [f"{server}/{'gone' if i % 5 == 0 else 'ok'}?{i}" for i in range(30)]
    limits = DownloadLimits(workers=16, per_host=3, allow_private_addresses=True)
    results = list(Downloader(limits).fetch_all(urls))
    assert [result.data is None for result in results] == [i % 5 == 0 for i in range(30)]
    assert 1 < _Handler.most <= 3


def test_threaded_keeps_few_results_and_raises_in_place():
    started = []

    def work(item):
        started.append(item)
        return 1 // (item - 20)

    results = threaded(work, range(100), workers=2)
    assert next(results) == -1 and len(started) <= 4
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert len(started) < 40
