"""Where a MongoDB is and how it is reached, without ever showing with which password."""

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
"""The database where an address names none."""

#: Milliseconds, where the URL says nothing else. pymongo's own are 30 s, 20 s and for ever.
_TIMEOUTS = {"serverSelectionTimeoutMS": 5000, "connectTimeoutMS": 5000, "socketTimeoutMS": 20000}
_TLS_FILES = ("tlscafile", "tlscertificatekeyfile", "tlscrlfile")
_SPECIAL = "%, :, /, ?, # and @ in a user or a password are written %25, %3A, %2F, %3F, %23 and %40"
_CODES = {13: "not authorized", 18: "wrong user or password", 8000: "wrong user or password"}


@dataclass(frozen=True)
class Address:
    """A MongoDB database and how to reach it; `address_of` makes one.

    Shown, it is ``host:port/database``, after the profile's name if it came from one. User, password and options are
    in no message and no repr.

    Attributes:
        shown: what a person may see.
        database_name: of the database.
    """

    shown: str
    database_name: str
    _url: str = field(repr=False)
    _options: Mapping[str, Any] = field(repr=False, default_factory=dict)
    _secrets: tuple[str, ...] = field(repr=False, default=())

    def __str__(self) -> str:
        return self.shown

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """A client, which connects when it is used. Close it.

        Args:
            options: of pymongo, over those of the address.

        Raises:
            ConfigError: if pymongo refuses the address, such as a TLS file that holds no certificate.
        """
        from nablafx_core.mongo.client import Client

        try:
            return Client(self.shown, self._url, appname="nablafx", **{**self._options, **options})
        except Exception as error:
            reason = self.explained(error)
        raise ConfigError(f"MongoDB {self}: cannot be used: {reason}.")  # outside: its context would hold the URL

    @contextmanager
    def database(self, **options: Any) -> Iterator[Database[dict[str, Any]]]:
        """The database of a client that is closed at the end of the ``with``; see `client`."""
        client = self.client(**options)
        try:
            yield client[self.database_name]
        finally:
            client.close()

    def explained(self, error: BaseException) -> str:
        """What a failure of pymongo was, in a few words and without user, password or options."""
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
            return "what answers there is no MongoDB"
        text = str(error).partition(", full error:")[0].split("\n")[0]
        for secret in self._secrets:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)" if len(secret) < 4 else re.escape(secret), "***", text)
        return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def address_of(text: str | None = None) -> Address | None:
    """The address that a text, the environment or the user's config file names.

    Args:
        text: a ``mongodb://`` or ``mongodb+srv://`` URL, or a profile's name. If None, `NABLAFX_MONGO_URL`, else the
            profile ``default`` of the user's config file (see `profiles`), else there is none.

    Raises:
        ConfigError: for an address that cannot be used; whether a server answers there is not asked.
    """
    from nablafx_core.mongo.profiles import find_profile

    source = "--mongo"
    if text is None:
        text, source = os.environ.get(MONGO_VARIABLE) or None, MONGO_VARIABLE
    if text is not None and _is_url(text):
        return _checked(text, source)
    profile = find_profile(text, source)
    return None if profile is None else _of_profile(profile)


def required_address(text: str | None) -> Address:
    """The same, where nothing can be done without.

    Raises:
        ConfigError: also if there is none.
    """
    address = address_of(text)
    if address is None:
        raise ConfigError(f"which MongoDB? Give --mongo URL, or set {MONGO_VARIABLE}, or write a profile 'default'.")
    return address


def _is_url(text: str) -> bool:
    return any(sign in text for sign in ":/@")  # what is no URL but was meant as one is not looked up, and not quoted


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
        raise ConfigError(f"{profile.where}: a password needs a user.")
    return _checked(url, profile.where, options, f"{profile.name} ")


def _checked(url: str, source: str, options: Mapping[str, Any] | None = None, before: str = "") -> Address:
    """Check an address part by part: pymongo's own messages quote what may be a piece of a password."""
    scheme, _, rest = url.strip().partition("://")
    if scheme not in ("mongodb", "mongodb+srv"):
        raise ConfigError(f"{source}: a MongoDB address begins with mongodb:// or mongodb+srv://.")
    authority, tail = _split(rest)
    userinfo, at, hosts = authority.rpartition("@")
    if "@" in tail.partition("?")[0] or "@" in userinfo or userinfo.count(":") > 1 or (at and not userinfo):
        raise ConfigError(f"{source}: the user or the password cannot be read: {_SPECIAL}.")
    if re.search(r"%(?![0-9A-Fa-f]{2})", userinfo):
        raise ConfigError(f"{source}: the user or the password has a % that is no escape: {_SPECIAL}.")
    path, _, query = tail.partition("?")
    parsed = _parsed(f"mongodb://{hosts}{path}")
    if parsed is None or parsed["collection"] or not hosts:
        raise ConfigError(f"{source}: write the address as mongodb://user:password@host:port/database. {_SPECIAL}.")
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
    address.client().close()  # what only pymongo can judge, such as certificates; it does not connect
    return address


def _split(rest: str) -> tuple[str, str]:
    """What stands before the database and the options of a URL, and those."""
    match = re.search(r"[/?]", rest)
    return (rest[: match.start()], rest[match.start() :]) if match else (rest, "")


def _options_of(hosts: str, query: str, source: str) -> dict[str, Any]:
    """The URL's options by their names in lower case, each checked alone, so that a message can name it."""
    given = {}
    for item in filter(None, re.split("[&;]", query)):
        name, equals, value = item.partition("=")
        key = name.lower() if re.fullmatch(r"\w{1,60}", name) else "?"
        files = key in _TLS_FILES  # pymongo would open them
        if not equals or not (files or _accepted(item)):
            raise ConfigError(f"{source}: the option '{key}' of the address is unknown or has a value it cannot have.")
        given[key] = unquote_plus(value)
    return given


def _accepted(option: str) -> bool:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pymongo only warns of an option that it does not know
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
    """What no message may hold, the longest first."""
    user, _, password = userinfo.partition(":")
    items = [item.partition("=") for item in re.split("[&;]", query)]
    private = {value for name, _, value in items if re.search("password|properties", name, re.IGNORECASE)}
    found = {url if userinfo else "", userinfo, user, password, *private}
    return tuple(sorted(filter(None, found | {unquote_plus(text) for text in found}), key=len, reverse=True))
