import http.client
import socket
import struct
import sys
import threading
import time
import urllib.error
import urllib.request
from ipaddress import ip_address
from urllib.parse import urlsplit

import psutil
import pytest

from multithreading.lab import site
from multithreading.lab.site import open_site, refusing

ADDRESSES = ("http://a.example", "https://a.example/b/", "http://c/<d>")


def get(url: str, timeout: float = 30) -> tuple[int, str]:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
    )
    with opener.open(url, timeout=timeout) as answer:
        return answer.status, answer.read().decode()


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)


def test_every_address_has_a_page_of_its_own():
    with open_site(ADDRESSES) as site:
        urls = [site.mirror(address) for address in ADDRESSES]
        pages = [get(url) for url in urls]
    assert len(set(urls)) == len(set(pages)) == 3
    for address, (status, page) in zip(
        ADDRESSES[:2], pages[:2], strict=True
    ):
        assert status == 200
        assert page.startswith("<!DOCTYPE html>")
        assert f"<title>{address}</title>" in page
        assert f"<p>This page stands in for {address}.</p>" in page
    assert "<title>http://c/&lt;d&gt;</title>" in pages[2][1]


def listening() -> set[str]:
    """Return the addresses at which this process listens."""
    return {
        line.laddr.ip
        for line in psutil.Process().net_connections("inet")
        if line.status == psutil.CONN_LISTEN
    }


def test_it_listens_on_loopback_alone():
    before = listening()
    with open_site(ADDRESSES) as site:
        assert site._server.socket.getsockname()[0] == "127.0.0.1"
        assert listening() - before == {"127.0.0.1"}
    assert listening() == before
    with refusing():
        assert listening() == before


def other_addresses() -> list[str]:
    """Return this machine's own addresses but the one of the site.

    All of 127/8 is this machine's on Linux, and ``::1`` may be.
    """
    own = {
        address.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in {socket.AF_INET, socket.AF_INET6}
    }
    if sys.platform == "linux":
        own.add("127.0.0.2")
    return sorted(
        address
        for address in own - {"127.0.0.1"}
        if not ip_address(address).is_link_local  # needs an interface
    )


def test_it_cannot_be_reached_from_elsewhere():
    with open_site(ADDRESSES) as site:
        port = urlsplit(site.url).port
        for address in other_addresses():
            with pytest.raises(OSError, match=r".") as raised:
                socket.create_connection((address, port), timeout=10)
            assert not isinstance(raised.value, TimeoutError), address
        assert not site._server._open


def test_two_sites_have_addresses_of_their_own():
    with open_site(ADDRESSES) as one, open_site(ADDRESSES) as other:
        assert one.url != other.url


def test_what_the_threads_share_is_changed_under_the_lock(monkeypatch):
    seen = []
    counts = {"requests", "now", "most_at_once"}

    class Guarded(site._Server):
        def server_bind(self):
            super().server_bind()
            self._open = Open(self)

        def __setattr__(self, name, value):
            if name in counts and hasattr(self, "_open"):
                seen.append((name, self._lock.locked()))
            super().__setattr__(name, value)

    class Open(set):
        def __init__(self, server):
            self.server = server

        def add(self, item):
            seen.append(("add", self.server._lock.locked()))
            super().add(item)

        def discard(self, item):
            seen.append(("discard", self.server._lock.locked()))
            super().discard(item)

        def __iter__(self):
            seen.append(("iter", self.server._lock.locked()))
            return super().__iter__()

    monkeypatch.setattr(site, "_Server", Guarded)
    with open_site(ADDRESSES) as running:
        get(running.mirror(ADDRESSES[0]))
    assert {name for name, _ in seen} == (
        counts | {"add", "discard", "iter"}
    )
    assert all(held for _, held in seen), seen


def test_another_address_is_not_found():
    with (
        open_site(ADDRESSES) as site,
        pytest.raises(urllib.error.HTTPError) as raised,
    ):
        get(site.mirror("http://elsewhere.example"))
    with raised.value as answer:
        assert answer.code == 404


def test_the_query_sets_the_status():
    with (
        open_site(ADDRESSES) as site,
        pytest.raises(urllib.error.HTTPError) as raised,
    ):
        get(site.mirror(ADDRESSES[0], status=503))
    with raised.value as answer:
        assert answer.code == 503


def test_every_page_waits_and_the_query_can_change_it():
    with open_site(ADDRESSES, delay=0.3) as site:
        start = time.perf_counter()
        get(site.mirror(ADDRESSES[0]))
        assert time.perf_counter() - start >= 0.29
        with pytest.raises(TimeoutError):
            get(site.mirror(ADDRESSES[0], delay=60), timeout=0.05)


def test_a_cut_page_lacks_its_second_half():
    with open_site(ADDRESSES) as site:
        _, whole = get(site.mirror(ADDRESSES[0]))
        connection = connect(site.url)
        connection.request("GET", site.mirror(ADDRESSES[0], cut=1))
        with (
            connection.getresponse() as answer,
            pytest.raises(http.client.IncompleteRead) as raised,
        ):
            answer.read()
        connection.close()
    assert whole.encode().startswith(raised.value.partial)
    assert len(raised.value.partial) == len(whole.encode()) // 2


def test_one_connection_carries_many_requests():
    with open_site(ADDRESSES) as site:
        connection = connect(site.url)
        connection.connect()
        mine = connection.sock.getsockname()
        for address in ADDRESSES[:2]:
            connection.request("GET", site.mirror(address))
            answer = connection.getresponse()
            assert answer.version == 11
            assert address in answer.read().decode()
            assert connection.sock.getsockname() == mine
        connection.close()


def test_small_answers_are_not_held_back():
    # Nagle's algorithm costs 40 ms for each request after the first.
    with open_site(ADDRESSES) as site:
        connection = connect(site.url)
        start = time.perf_counter()
        for _ in range(100):
            connection.request("GET", site.mirror(ADDRESSES[0]))
            connection.getresponse().read()
        connection.close()
        assert time.perf_counter() - start < 100 * 0.03


def test_more_clients_than_the_usual_backlog_connect_at_once():
    with open_site(ADDRESSES) as site:
        assert site._server.request_queue_size >= 128


def test_requests_are_counted_and_the_most_at_once():
    everyone = threading.Barrier(3)

    def fetch(url: str) -> None:
        everyone.wait(timeout=30)
        get(url)

    with open_site(ADDRESSES) as site:
        get(site.mirror(ADDRESSES[0]))
        get(site.mirror(ADDRESSES[0]))
        assert (site.requests, site.most_at_once) == (2, 1)
        url = site.mirror(ADDRESSES[0], delay=0.3)
        threads = [
            threading.Thread(target=fetch, args=(url,))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (site.requests, site.most_at_once) == (5, 3)


def test_the_end_does_not_wait_for_idle_connections():
    start = time.perf_counter()
    with open_site(ADDRESSES) as site:
        connection = connect(site.url)
        connection.request("GET", site.mirror(ADDRESSES[0]))
        connection.getresponse().read()
        silent = socket.create_connection(connection.sock.getpeername())
    assert not site._server._open
    connection.close()
    silent.close()
    assert time.perf_counter() - start < 15  # a handler waits for 30


def test_the_end_does_not_wait_for_slow_pages():
    start = time.perf_counter()
    with open_site(ADDRESSES) as site:
        connection = connect(site.url)
        connection.request("GET", site.mirror(ADDRESSES[0], delay=60))
        while not site.most_at_once:
            time.sleep(0.001)
    connection.close()
    assert time.perf_counter() - start < 30


def test_the_end_closes_the_port_even_after_an_exception():
    def fail() -> None:
        with open_site(ADDRESSES) as site:
            urls.append(site.url)
            raise LookupError

    urls: list[str] = []
    with pytest.raises(LookupError):
        fail()
    with pytest.raises(urllib.error.URLError):
        get(urls[0])


def test_a_client_that_leaves_makes_no_noise(capfd):
    with open_site(ADDRESSES) as site:
        for _ in range(5):
            connection = connect(site.url)
            connection.connect()
            # An abortive close: the site's next write fails.
            connection.sock.setsockopt(
                socket.SOL_SOCKET,
                socket.SO_LINGER,
                struct.pack("ii", 1, 0),
            )
            connection.request(
                "GET", site.mirror(ADDRESSES[0], delay=0.02)
            )
            connection.close()
        get(site.mirror(ADDRESSES[0], delay=0.1))
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_site_is_reported(capfd):
    with (
        open_site(ADDRESSES) as site,
        pytest.raises(http.client.RemoteDisconnected),
    ):
        get(site.mirror(ADDRESSES[0], status="teapot"))
    assert "teapot" in capfd.readouterr().err


def test_nothing_listens_where_connections_are_refused():
    with refusing() as url:
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(urllib.error.URLError) as raised:
            get(url)
    assert isinstance(raised.value.reason, ConnectionRefusedError)
