"""Addresses of MongoDB, whose user, password and options never appear in a message."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_plus

from nablafx_core.errors import ConfigError
from nablafx_core.files import readable
from nablafx_core.runs.recorder import MONGO_VARIABLE

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.database import Database

    from nablafx_core.mongo.profiles import Profile

DATABASE = "nablafx"
"""Name of the database if the address contains none."""

#: Default timeouts in milliseconds. pymongo's own are 30 s, 20 s and infinite.
_TIMEOUTS = {"serverSelectionTimeoutMS": 5000, "connectTimeoutMS": 5000, "socketTimeoutMS": 20000}
_TLS_FILES = ("tlscafile", "tlscertificatekeyfile", "tlscrlfile")
_FORM = "mongodb://user:password@host:port/database"
_SPECIAL = "write %, :, /, ?, # and @ in a user or a password as %25, %3A, %2F, %3F, %23 and %40"
_CODES = {13: "not authorized", 18: "wrong user or password", 8000: "wrong user or password"}


@dataclass(frozen=True)
class Address:
    """Address of a MongoDB database; see `address_of`.

    As text, it is ``host:port/database``, after the profile's name if it comes from a profile. User, password and
    options are not in any message or repr.

    Attributes:
        shown: text of the address for messages.
        database_name: name of the database.
    """

    shown: str
    database_name: str
    _url: str = field(repr=False)
    _options: Mapping[str, Any] = field(repr=False, default_factory=dict)
    _secrets: tuple[str, ...] = field(repr=False, default=())

    def __str__(self) -> str:
        return self.shown

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """Return a client, which connects at its first use; the caller must close it.

        Args:
            options: options of pymongo, which override those of the address.

        Raises:
            ConfigError: if pymongo rejects the address, for example because a TLS file contains no certificate.
        """
        from nablafx_core.mongo.client import Client

        try:
            return Client(self.shown, self._url, appname="nablafx", **{**self._options, **options})
        except Exception as error:
            reason = self.explained(error)
        raise ConfigError(
            f"MongoDB {self}: cannot be used: {reason}."
        )  # outside the handler: the error's context would contain the URL

    @contextmanager
    def database(self, **options: Any) -> Iterator[Database[dict[str, Any]]]:
        """Open the database with a client that is closed at the end of the block; see `client`."""
        client = self.client(**options)
        try:
            yield client[self.database_name]
        finally:
            client.close()

    def explained(self, error: BaseException) -> str:
        """Return the reason of an error of pymongo in a few words, without user, password or options."""
        from pymongo import errors

        code = getattr(error, "code", None)
        if isinstance(error, errors.OperationFailure) and code in _CODES:
            return _CODES[code]
        if isinstance(error, errors.ServerSelectionTimeoutError):
            return "no server answers" + (" (connection refused)" if "refused" in str(error) else "")
        if isinstance(error, errors.NetworkTimeout) or getattr(error, "timeout", False):
            return "the server does not answer in time"
        if isinstance(error, errors.AutoReconnect) and not isinstance(error, errors.NotPrimaryError):
            return "the connection was lost"
        if isinstance(error, errors.ProtocolError):
            return "the server that answers is not a MongoDB"
        text = str(error).partition(", full error:")[0].split("\n")[0]
        for secret in self._secrets:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)" if len(secret) < 4 else re.escape(secret), "***", text)
        return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def address_of(text: str | None = None, source: str = "mongo") -> Address | None:
    """Return the address that a text, the environment or the user's config file names; do not connect to it.

    Args:
        text: ``mongodb://`` or ``mongodb+srv://`` URL, or the name of a profile. If None, `NABLAFX_MONGO_URL`, else the
            profile ``default`` of the user's config file (see `profiles`), else there is no address.
        source: argument or option that contains the text, for messages.

    Raises:
        ConfigError: if the address is invalid, or there is no such profile.
    """
    from nablafx_core.mongo.profiles import find_profile

    if text is None:
        text, source = os.environ.get(MONGO_VARIABLE) or None, MONGO_VARIABLE
    if text is not None and _is_url(text):
        return _checked(text, source)
    profile = find_profile(text, source)
    return None if profile is None else _of_profile(profile)


def required_address(text: str | None, source: str = "mongo") -> Address:
    """Return the same as `address_of`, but require an address.

    Raises:
        ConfigError: if there is no address, or it is invalid.
    """
    address = address_of(text, source)
    if address is None:
        raise ConfigError(
            f"{source}: an address of MongoDB is required. Give {source} a URL or the name of a profile, set "
            f"{MONGO_VARIABLE}, or write a profile 'default'."
        )
    return address


def _is_url(text: str) -> bool:
    # A text with one of these was meant as a URL: as a profile's name, it could be quoted with a password.
    return any(sign in text for sign in ":/@")


def _of_profile(profile: Profile) -> Address:
    url, password = profile.url, profile.secret()
    options: dict[str, Any] = {
        "tls": profile.tls,
        "tlsCAFile": profile.file("tls_ca_file"),
        "tlsCertificateKeyFile": profile.file("tls_certificate_key_file"),
    }
    options = {key: value for key, value in options.items() if value is not None}
    if profile.user is not None:
        scheme, _, rest = url.partition("://")
        authority, tail = _split(rest)
        userinfo = quote_plus(profile.user) + ("" if password is None else f":{quote_plus(password)}")
        url = f"{scheme}://{userinfo}@{authority.rpartition('@')[2]}{tail}"
    elif password is not None:
        raise ConfigError(f"{profile.where}: a password requires a user.")
    return _checked(url, profile.where, options, f"{profile.name} ")


def _checked(url: str, source: str, options: Mapping[str, Any] | None = None, before: str = "") -> Address:
    """Check each part of an address, because pymongo's own messages may quote a piece of a password."""
    scheme, _, rest = url.strip().partition("://")
    if scheme not in ("mongodb", "mongodb+srv"):
        raise ConfigError(f"{source}: expected a MongoDB address that begins with mongodb:// or mongodb+srv://.")
    authority, tail = _split(rest)
    userinfo, at, hosts = authority.rpartition("@")
    if "@" in tail.partition("?")[0] or "@" in userinfo or userinfo.count(":") > 1 or (at and not userinfo):
        raise ConfigError(f"{source}: the user or the password is invalid: {_SPECIAL}.")
    if re.search(r"%(?![0-9A-Fa-f]{2})", userinfo):
        raise ConfigError(f"{source}: the user or the password contains a % that is not an escape: {_SPECIAL}.")
    path, _, query = tail.partition("?")
    if not all(map(_has_valid_port, hosts.split(","))):  # not quoted: after a mistake, this may be a password
        raise ConfigError(
            f"{source}: the port of the address is not a number from 1 to 65535. Write the address as {_FORM}; "
            f"{_SPECIAL}."
        )
    parsed = _parsed(f"mongodb://{hosts}{path}")
    if parsed is None or parsed["collection"] or not hosts:
        raise ConfigError(f"{source}: write the address as {_FORM}; {_SPECIAL}.")
    given = _options_of(hosts, query, source)
    for name in _TLS_FILES:
        if name in given:
            readable(Path(str(given[name])), f"{source}: {name}")
    name = parsed["database"] or DATABASE
    address = Address(
        f"{before}{hosts}/{name}",
        name,
        url.strip(),
        {**{key: value for key, value in _TIMEOUTS.items() if key.lower() not in given}, **(options or {})},
        _secrets(userinfo, url, query),
    )
    address.client().close()  # checks the rest, such as certificates, without connecting
    return address


def _has_valid_port(host: str) -> bool:
    _, colon, port = host.rpartition("]")[2].rpartition(":")  # an IPv6 address is in brackets
    return not colon or (re.fullmatch("[0-9]{1,5}", port) is not None and 0 < int(port) < 65536)


def _split(rest: str) -> tuple[str, str]:
    """Split a URL without its scheme into user and hosts, and the rest: the database and the options."""
    match = re.search(r"[/?]", rest)
    return (rest[: match.start()], rest[match.start() :]) if match else (rest, "")


def _options_of(hosts: str, query: str, source: str) -> dict[str, Any]:
    """Return the URL's options by their names in lower case; check each alone, so that a message can name it."""
    given = {}
    for item in filter(None, re.split("[&;]", query)):
        name, equals, value = item.partition("=")
        key = name.lower() if re.fullmatch(r"\w{1,60}", name) else "?"
        files = key in _TLS_FILES  # pymongo would open these files
        if not equals or not (files or _accepted(item)):
            which = "an option" if key == "?" else f"the option '{key}'"
            raise ConfigError(
                f"{source}: {which} of the address is unknown or has an invalid value. Write it as name=value, with a "
                "name and a value that pymongo knows."
            )
        given[key] = unquote_plus(value)
    return given


def _accepted(option: str) -> bool:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pymongo only warns about unknown options
        try:
            parsed = _parsed(f"mongodb://host/?{option}", warn=True)
        except Warning:
            return False
    return parsed is not None


def _parsed(url: str, warn: bool = False) -> dict[str, Any] | None:
    from pymongo import errors
    from pymongo.uri_parser import parse_uri

    try:
        return dict(parse_uri(url, warn=warn))
    except (errors.PyMongoError, ValueError, TypeError, OSError):
        return None


def _secrets(userinfo: str, url: str, query: str) -> tuple[str, ...]:
    """Return the texts that must not appear in a message, the longest first."""
    user, _, password = userinfo.partition(":")
    items = [item.partition("=") for item in re.split("[&;]", query)]
    private = {value for name, _, value in items if re.search("password|properties", name, re.IGNORECASE)}
    found = {url if userinfo else "", userinfo, user, password, *private}
    return tuple(sorted(filter(None, found | {unquote_plus(text) for text in found}), key=len, reverse=True))
