"""A sandbox with an Egress reaches what the list allows, through its proxy, and nothing else."""

from __future__ import annotations

import pytest

import egress_world
from egress_world import World
from needs import needs


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return egress_world.made(tmp_path_factory.mktemp("egress"))


def test_curl_gets_a_page_by_tls_through_the_proxy(world: World) -> None:
    needs("curl", package="curl")
    told = world("""
server = tls_server(FOLDER)
tell(**curl("https://good.example.org:8443/", folder=FOLDER,
            allow=["good.example.org:8443", "127.0.0.1:8443"]))
""")
    assert told == {"code": 0, "out": "name good.example.org", "err": "", "refused": []}


def test_curl_gets_no_page_of_a_host_that_is_not_listed(world: World) -> None:
    needs("curl", package="curl")
    told = world("""
server = tls_server(FOLDER)
told = curl("https://other.example.org:8443/", folder=FOLDER,
            allow=["good.example.org:8443", "127.0.0.1:8443"])
tell(got=len(server.got), **told)
""")
    assert told["got"] == 0
    assert told["code"] == 56
    assert "403" in told["err"]
    assert told["refused"] == ["other.example.org:8443: other.example.org:8443 is not allowed"]


def test_curl_gets_a_page_without_tls(world: World) -> None:
    needs("curl", package="curl")
    told = world("""
server = http_server()
tell(**curl("http://good.example.org:8080/page?a=b", folder=FOLDER,
            allow=["*.example.org:8080", "127.0.0.1:8080"]))
""")
    assert told["refused"] == []
    assert told["out"].startswith("GET /page?a=b HTTP/1.1\r\nHost: good.example.org:8080\r\n")
    assert "Proxy" not in told["out"]


def test_a_function_reaches_a_listed_host_alone(world: World) -> None:
    told = world("""
import nsenter
server = http_server()
def fetch(url):
    import urllib.error, urllib.request
    try:
        return urllib.request.urlopen(url, timeout=20).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
with nsenter.Sandbox(network=nsenter.Egress(ALLOW), timeout=SECONDS) as box:
    good = box.call(fetch, "http://good.example.org:8080/page")
    refused = [box.refused]
    other = box.call(fetch, "http://other.example.org:8080/page")
    refused.append(box.refused)
tell(good=good, other=other, refused=refused, got=len(server.got))
""")
    assert told["good"].startswith("GET /page HTTP/1.1\r\nHost: good.example.org:8080\r\n")
    assert told["other"] == "403 other.example.org:8080 is not allowed\n"
    assert told["refused"][0] == []
    assert told["refused"][1][0].endswith("other.example.org:8080 is not allowed")
    assert told["got"] == 1


def test_runs_at_the_same_time_have_their_own_refusals(world: World) -> None:
    told = world(
        """
import asyncio, nsenter
async def one(box, name):
    argv = [sys.executable, "-I", "-S", "-c", f"name = b'{name}'\\n" + PAYLOAD]
    result = await box.run_async(argv)
    return [line.target for line in result.refused]
async def all_of_them(box):
    return await asyncio.gather(*[one(box, f"host{number}.test") for number in range(4)])
with nsenter.Sandbox(network=nsenter.Egress(ALLOW), timeout=SECONDS) as box:
    tell(found=asyncio.run(all_of_them(box)))
""",
        """
import socket
with socket.create_connection(("127.0.0.1", 3128)) as connection:
    connection.sendall(b"CONNECT %s:443 HTTP/1.0\\r\\n\\r\\n" % name)
    connection.recv(100)
""",
    )
    assert told["found"] == [[f"host{number}.test:443"] for number in range(4)]
