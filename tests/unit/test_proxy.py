"""Which proxy a server is asked through. That it works: test_http_client.py."""

from __future__ import annotations

import pytest

from collector.errors import OperatorError
from collector.outputs.proxy import Proxy, environment_proxy, proxy_kind, read_proxy
from collector.outputs.resolver import Endpoint


def test_values() -> None:
    assert read_proxy("http://proxy:3128") == Proxy(Endpoint("proxy", 3128))
    assert read_proxy("http://proxy/") == Proxy(Endpoint("proxy", 80))
    secret = read_proxy("http://me:p%40ss@[::1]:3128")
    assert secret == Proxy(Endpoint("::1", 3128), "Basic bWU6cEBzcw==")
    assert secret.headers == [("Proxy-Authorization", "Basic bWU6cEBzcw==")]
    assert proxy_kind.show(secret) == "[::1]:3128"
    for wrong in ("https://proxy:1", "proxy:3128", "http://", "http://a:99999", "http://a:1/b"):
        with pytest.raises(ValueError, match="http://HOST:PORT"):
            proxy_kind.read(wrong)


@pytest.mark.parametrize(
    ("host", "no_proxy", "through"),
    [
        ("logs.example", "", True),
        ("logs.example", "other.example, .corp", True),
        ("logs.example", "logs.example", False),
        ("Logs.Example", "example", False),
        ("a.logs.example", " .logs.example ", False),
        ("a.logs.example", "*.logs.example", False),
        ("xlogs.example", "logs.example", True),
        ("logs.example", "*", False),
        ("127.0.0.1", "", False),
        ("::1", "", False),
        ("localhost", "", False),
    ],
)
def test_the_environment(host: str, no_proxy: str, through: bool) -> None:
    environ = {"HTTP_PROXY": "proxy:3128", "NO_PROXY": no_proxy}
    assert environment_proxy(environ, host) == (Proxy(Endpoint("proxy", 3128)) if through else None)
    assert environment_proxy({}, host) is None


def test_one_that_can_not_be_read_is_not_repeated() -> None:
    with pytest.raises(OperatorError, match="HTTP_PROXY of the environment can't be read") as caught:
        environment_proxy({"HTTP_PROXY": "https://me:secret@x"}, "logs.example")
    assert "secret" not in str(caught.value)
