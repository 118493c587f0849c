"""A Ray cluster that requires a token is distinguished from a missing one, at once and without Ray's own output."""

from __future__ import annotations

import os
import socket
import time

import pytest

from nablafx_core.errors import ConfigError
from nablafx_core.sweep import quiet_ray

REFUSES = """
import os, time
if os.environ.get("RAY_AUTH_MODE") == {mode!r}:
    print("connected to the cluster", flush=True)
else:
    print("gcs_client.cc:210: Unauthenticated: RPC error: InvalidAuthToken: token is missing", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def address(monkeypatch):
    """Open an address that accepts connections."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")  # restored at the end
        monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_cluster_without_a_token_is_not_refused(address, monkeypatch):
    monkeypatch.setattr(quiet_ray, "_PROBE", "print('connected to the cluster')")
    quiet_ray.check_address(address)
    assert "RAY_AUTH_MODE" not in os.environ


def test_the_token_of_this_machine_is_used_if_the_cluster_requires_one(address, monkeypatch):
    monkeypatch.setattr(quiet_ray, "_PROBE", REFUSES.format(mode="token"))
    quiet_ray.check_address(address)
    assert os.environ["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize("mode", [None, "disabled", "token"])
def test_the_error_about_a_wrong_token_says_what_to_set(address, monkeypatch, mode, capfd):
    monkeypatch.setattr(quiet_ray, "_PROBE", REFUSES.format(mode="never"))
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        quiet_ray.check_address(address)
    assert time.monotonic() - began < 300  # the process that asks is ended, it would sleep longer
    said = str(caught.value)
    assert "no Ray cluster answers" not in said
    for word in (address, "RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN", "~/.ray/auth_token", "RAY_AUTH_MODE=disabled"):
        assert word in said
    assert "".join(capfd.readouterr()) == ""
    assert os.environ.get("RAY_AUTH_MODE") == mode


def test_a_server_that_is_not_a_cluster_is_an_error(address, monkeypatch, capfd):
    monkeypatch.setattr(quiet_ray, "_PROBE", "raise ConnectionError('Failed to connect to it')")
    with pytest.raises(ConfigError, match="no Ray cluster answers there: Failed to connect to it"):
        quiet_ray.check_address(address)
    monkeypatch.setattr(quiet_ray, "_PROBE", "import time; print('rpc_client.h:153: ...', flush=True); time.sleep(600)")
    monkeypatch.setattr(quiet_ray, "_PROBE_SECONDS", 0.5)
    with pytest.raises(ConfigError, match="not a Ray cluster"):
        quiet_ray.check_address(address)
    assert "".join(capfd.readouterr()) == ""


def test_an_address_without_a_server_is_not_an_error_about_tokens(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(quiet_ray, "_PROBE", "raise SystemExit('not to be asked')")
    with pytest.raises(ConfigError, match="no Ray cluster answers there"):
        quiet_ray.check_address(f"127.0.0.1:{port}")
