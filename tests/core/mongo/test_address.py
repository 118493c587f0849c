"""Addresses of MongoDB: which are accepted and rejected, and that no message contains a password."""

from __future__ import annotations

import os

import pymongo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.errors import ConfigError
from nablafx_core.mongo.address import address_of, required_address


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """Give a function that writes the user's config file."""
    path = tmp_path / "config.yaml"
    monkeypatch.delenv("NABLAFX_MONGO_URL", raising=False)
    monkeypatch.setenv("NABLAFX_CONFIG", str(path))

    def write(text):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    write("")
    return write


def used(address):
    """Return hosts, user, password and options that pymongo reads from an address."""
    with address.database() as database:
        client = database.client
        credentials = client.options.pool_options._credentials
        user = (credentials.username, credentials.password) if credentials else None
        return sorted(client._topology_settings.seeds), user, client.options, database.name


def test_a_url_names_the_database_or_the_default_is_used():
    hosts, user, _, name = used(address_of("mongodb://ada:s%40cret@db.lab:27018,other/records?authSource=admin"))
    assert (hosts, user, name) == ([("db.lab", 27018), ("other", 27017)], ("ada", "s@cret"), "records")
    assert used(address_of("mongodb://db.lab"))[3] == "nablafx"
    assert str(address_of("mongodb://ada:s%40cret@db.lab:27018/records")) == "db.lab:27018/records"


def test_timeouts_are_ours_unless_the_url_has_its_own():
    options = used(address_of("mongodb://h/d?connectTimeoutMS=700"))[2]
    assert options.pool_options.connect_timeout == 0.7
    assert options.pool_options.socket_timeout == 20.0
    assert options.server_selection_timeout == 5.0


def test_the_environment_comes_before_the_default_profile_and_without_both_there_is_none(config, monkeypatch):
    assert address_of() is None
    config("mongo: {default: lab, lab: {url: 'mongodb://db.lab/x'}, direct: 'mongodb://direct'}")
    assert str(address_of()) == "lab db.lab/x"
    assert str(address_of("direct")) == "direct direct/nablafx"
    monkeypatch.setenv("NABLAFX_MONGO_URL", "direct")
    assert str(address_of()) == "direct direct/nablafx"
    assert str(address_of("mongodb://given")) == "given/nablafx"


@pytest.mark.parametrize("source", ["password: 's:e/c@r%t 0'", "password_env: SECRET", "password_file: secret.txt"])
def test_a_profile_has_user_password_and_tls(config, monkeypatch, source):
    monkeypatch.setenv("SECRET", "s:e/c@r%t 0")
    path = config(f"mongo: {{lab: {{url: 'mongodb://db.lab/x', user: 'a@da', tls: true, {source}}}}}")
    (path.parent / "secret.txt").write_text("s:e/c@r%t 0\n")
    (path.parent / "secret.txt").chmod(0o600)
    _, user, options, _ = used(address_of("lab"))
    assert user == ("a@da", "s:e/c@r%t 0")
    assert options.pool_options._ssl_context is not None


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 1), (0o604, 1)])
def test_a_password_that_others_can_read_gives_a_warning(config, caplog, mode, warnings):
    config("mongo: {lab: {url: 'mongodb://h', user: ada, password: s3cret}}").chmod(mode)
    address_of("lab")
    assert [entry.getMessage().count("chmod 600") for entry in caplog.records] == [1] * warnings
    assert "s3cret" not in caplog.text


WRONG = {
    "http://ada:s3cret@h": "begins with mongodb://",
    "ada:s3cret@h": "begins with mongodb://",
    "localhost:27017": "begins with mongodb://",
    "mongodb://ada:s3cret/s3cret@h/d": "%2F",
    "mongodb://ada:s3cret@s3cret@h/d": "%40",
    "mongodb://ada:s3c:s3cret@h/d": "%3A",
    "mongodb://ada:s3cret%zz@h/d": "%25",
    "mongodb://:s3cret@h:port/d": "mongodb://user:password@host",
    "mongodb://ada:s3cret": "the port",
    "mongodb://ada:p@s3cret:s3cret?x/d": "the port",
    "mongodb://ada:s3cret@h,i:65536/d": "the port",
    "mongodb://ada:s3cret@[::1]:s3cret/d": "the port",
    "mongodb://ada:s3cret@h/a.b": "mongodb://user:password@host",
    "mongodb://ada:s3cret@": "mongodb://user:password@host",
    "mongodb://ada:s3cret@h/?tlss=s3cret": "'tlss'",
    "mongodb://ada:s3cret@h/?connectTimeoutMS=s3cret": "'connecttimeoutms'",
    "mongodb://ada:s3cret@h/?s3cret!": "an option of the address",
    "mongodb://ada:s3cret@h/?tlsCAFile=/nowhere.pem": "nowhere.pem",
    "mongodb://ada:s3cret@h/?tls=true&ssl=false": "conflict",
    "nolab": "'nolab'",
}


def all_that_is_told(error):
    """Return the messages of an error and of its causes and contexts."""
    told = []
    while error is not None:
        told += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return " ".join(told)


@pytest.mark.parametrize("url", WRONG)
def test_errors_about_addresses_do_not_contain_the_password(url):
    with pytest.raises(ConfigError, match=r"^(mongo: |MongoDB )") as error:
        address_of(url).client()
    assert WRONG[url] in str(error.value)
    assert "s3cret" not in all_that_is_told(error.value)


WRONG_FILES = {
    "mongo: {lab: {url: 'mongodb://h', user: ada, password: *s3cret}}": ":1: expected plain YAML",
    "mongo:\n  lab: {url: 'mongodb://h', user: ada, password: !s3cret}": ":2: expected plain YAML",
    "mongo: {lab: {url: 'mongodb://h', pasword: s3cret}}": "Did you mean 'password'",
    "mongo: {lab: {url: 'mongodb://h', password: s3cret}}": "lab: a password requires a user",
    "mongo: {lab: {user: ada, password: s3cret}}": "mongo.lab.url: a profile requires it",
    "mongo: {lab: {url: 'mongodb://h', user: ada, password: [s3cret]}}": "lab.password: expected a string",
    "mongo: {lab: {url: 'mongodb://h', user: ada, password: s3cret, password_env: X}}": "two passwords",
    "mongo: {lab: {url: 'mongodb://h', user: ada, password_env: NOT_SET}}": "NOT_SET is not set",
    "mongo: {lab: {url: 'mongodb://h', user: ada, password_file: no.txt}}": "no.txt cannot be read",
    "mongo: {lab: {url: 'mongodb://h', tls: s3cret}}": "lab.tls: expected true or false",
    "mongo: {lab: {url: 'mongodb://h', tls_ca_file: no.pem}}": "no.pem cannot be read",
    "mongo: {lab: other, other: lab}": "mongo: the profile 'lab'",
    "mongo: {lab: nobody}": "'nobody'",
    "mongo: [s3cret]": "write profiles as",
    "[s3cret]": "write profiles as",
}


@pytest.mark.parametrize("text", WRONG_FILES)
def test_errors_about_profiles_do_not_contain_the_password(config, text):
    path = config(text)
    with pytest.raises(ConfigError) as error:
        address_of("lab")
    assert str(path) in str(error.value)
    assert WRONG_FILES[text] in str(error.value)
    assert "s3cret" not in all_that_is_told(error.value)


@pytest.mark.parametrize("source", ["mongo", "--mongo"])
@pytest.mark.parametrize("wrong", ["nolab", "http://h", "mongodb://h:port"])
def test_an_error_names_the_argument_or_option_that_was_given(config, source, wrong):
    with pytest.raises(ConfigError, match=f"^{source}: "):
        address_of(wrong, source)
    with pytest.raises(ConfigError, match=f"^{source}: .*NABLAFX_MONGO_URL"):
        required_address(None, source)


def test_the_error_for_an_unknown_profile_lists_the_profiles_and_what_they_stand_for(config):
    path = config("mongo: {default: lab, lab: {url: 'mongodb://h'}, direct: 'mongodb://ada:s3cret@h'}")
    with pytest.raises(ConfigError, match="no profile 'lba'. Did you mean 'lab'") as error:
        address_of("lba")
    assert str(error.value).splitlines()[1] == f"  profiles in {path}: default (lab), lab, direct"


def test_the_error_for_a_profile_that_names_no_other_is_at_its_place(config):
    path = config("mongo: {default: 5}")
    with pytest.raises(ConfigError) as error:
        address_of()
    assert str(error.value).startswith(f"{path}: mongo.default: there is no profile '5'.")


@pytest.mark.parametrize("hosts", ["h", "h:1", "h:65535", "[::1]", "[::1]:27018", "h:1,i,[::1]"])
def test_valid_ports_are_accepted(hosts):
    assert str(address_of(f"mongodb://{hosts}/d")) == f"{hosts}/d"


@given(password=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12))
def test_any_password_is_used_unchanged_and_never_shown(tmp_path_factory, password):
    password = password.rstrip("\r\n") or "a"
    folder = tmp_path_factory.mktemp("any")
    (folder / "p").write_bytes(password.encode() + b"\r\n")
    (folder / "p").chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NABLAFX_CONFIG", str(folder / "c.yaml"))
        (folder / "c.yaml").write_text("mongo: {lab: {url: 'mongodb://h', user: ada, password_file: p}}")
        address = address_of("lab")
    client = address.client()
    assert used(address)[1] == ("ada", password)
    assert repr(address) == "Address(shown='lab h/nablafx', database_name='nablafx')"
    assert repr(client) == "MongoClient(lab h/nablafx)"
    assert repr(client["d"]["c"]).count("MongoClient(lab h/nablafx)") == 1


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (pymongo.errors.OperationFailure("user ada with s3cret may not", 13), "not authorized"),
        (pymongo.errors.OperationFailure("Authentication failed for ada:s3cret", 18), "wrong user or password"),
        (pymongo.errors.OperationFailure("ada may not use s3cret", 99), "OperationFailure: *** may not use ***"),
        (pymongo.errors.ServerSelectionTimeoutError("h: [Errno 111] refused s3cret"), "no server answers"),
        (pymongo.errors.NetworkTimeout("s3cret"), "the server does not answer in time"),
    ],
)
def test_failures_are_explained_without_user_and_password(error, text):
    told = address_of("mongodb://ada:s3cret@h").explained(error)
    assert told.startswith(text)
    assert "s3cret" not in told
