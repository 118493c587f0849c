"""Read profiles, which are named MongoDB addresses in the user's config file.

    mongo:
      default: lab
      lab:
        url: mongodb://db.lab/nablafx
        user: ada
        password_file: ~/.nablafx-password      # or password_env: NAME, or password: …
        tls: true
        tls_ca_file: ca.pem

The file is ``config.yaml`` in the system's folder for user settings, or the file that `NABLAFX_CONFIG` names. Paths
are relative to its folder. A profile that is a string is the name of another profile, or a URL.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr, ValidationError

from nablafx_core.errors import ConfigError
from nablafx_core.files import readable
from nablafx_core.hints import did_you_mean, unknown_setting

_log = logging.getLogger(__name__)
DEFAULT = "default"
_REASONS = {
    "missing": "a profile requires it, such as url: mongodb://host/database",
    "string_type": "expected a string",
    "path_type": "expected the path of a file",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
}
_ALIASES = 8  # maximum length of a chain of profiles that name each other


class Profile(BaseModel):
    """One profile of the config file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: str
    user: str | None = None
    password: SecretStr | None = None
    password_env: str | None = None
    password_file: Path | None = None
    tls: bool | None = None
    tls_ca_file: Path | None = None
    tls_certificate_key_file: Path | None = None
    _name: str = PrivateAttr()
    _path: Path = PrivateAttr()

    @property
    def name(self) -> str:
        """Name of the profile in the file."""
        return self._name

    @property
    def where(self) -> str:
        """File and name of the profile, for messages."""
        return f"{self._path}: mongo.{self._name}"

    def file(self, key: str) -> str | None:
        """Return the path of a readable file that the profile names; None if it names none.

        Raises:
            ConfigError: if the file cannot be read.
        """
        path: Path | None = getattr(self, key)
        return None if path is None else readable(self._path.parent / path.expanduser(), f"{self.where}.{key}")

    def secret(self) -> str | None:
        """Return the password of the profile; None if it has none.

        Raises:
            ConfigError: if there are two passwords, or the variable or the file is missing.
        """
        given = [key for key in ("password", "password_env", "password_file") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ConfigError(f"{self.where}: {' and '.join(given)} are two passwords. Keep one of them.")
        if self.password is not None:
            _warn_if_shared(self._path)
            return self.password.get_secret_value()
        if self.password_env is not None:
            if self.password_env not in os.environ:
                raise ConfigError(f"{self.where}.password_env: the variable {self.password_env} is not set.")
            return os.environ[self.password_env]
        if (path := self.file("password_file")) is None:
            if "@" in self.url:
                _warn_if_shared(self._path)
            return None
        _warn_if_shared(Path(path))
        try:
            return Path(path).read_bytes().decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"{self.where}.password_file: {path} cannot be read as text.") from None


def config_file() -> Path:
    """Return the path of the user's config file, which may be missing."""
    named = os.environ.get("NABLAFX_CONFIG")
    folder = user_config_path("nablafx", appauthor=False, roaming=True)
    return Path(named).expanduser() if named else folder / "config.yaml"


def find_profile(name: str | None, source: str) -> Profile | None:
    """Return the profile of a name; None if `name` is None and there is no profile ``default``.

    Args:
        name: name of the profile; None for ``default``.
        source: option or variable that contains the name, for the message.

    Raises:
        ConfigError: if there is no such profile, or the file cannot be read or is invalid.
    """
    path = config_file()
    profiles = _read(path)
    if name is None and DEFAULT not in profiles:
        return None
    wanted = name or DEFAULT
    for _ in range(_ALIASES):
        if wanted not in profiles:
            raise ConfigError(_unknown_message(wanted, profiles, path, source))
        found = profiles[wanted]
        if not isinstance(found, str):
            return _profile(found, wanted, path)
        if "://" in found:
            return _profile({"url": found}, wanted, path)
        source, wanted = f"{path}: mongo.{wanted}", found
    raise ConfigError(f"{path}: mongo: the profile '{name or DEFAULT}' refers to itself through other profiles.")


def _unknown_message(name: str, profiles: Mapping[str, Any], path: Path, source: str) -> str:
    """Return the message about a name of no profile; a profile that is the name of another one shows that name."""
    known = [
        f"{key} ({found})" if isinstance(found, str) and found in profiles else key for key, found in profiles.items()
    ]
    return (
        f"{source}: there is no profile '{name}'.{did_you_mean(name, profiles)} Write the name of a profile, or a URL "
        f"such as mongodb://host/database.\n  profiles in {path}: {', '.join(known) or 'none'}"
    )


def _read(path: Path) -> dict[str, Any]:
    from nablafx_core.yaml import YamlError, plain_yaml

    if not path.is_file() and "NABLAFX_CONFIG" not in os.environ:
        return {}
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the config file cannot be read: {error.strerror}.") from None
    try:
        # As text, because a password of digits must stay a string. Text that cannot be parsed may be a password.
        found = plain_yaml(content, str(path), "a config file", as_text=True)
    except YamlError as error:
        found = ConfigError(f"{error.place}: expected plain YAML. Put a password with special characters in quotes.")
    if isinstance(found, ConfigError):
        raise found
    profiles = found.get("mongo") if isinstance(found, dict) else None
    if (found and not isinstance(found, dict)) or (profiles and not isinstance(profiles, dict)):
        raise ConfigError(f"{path}: write profiles as mongo: {{name: {{url: mongodb://host/database}}}}.")
    return profiles or {}


def _profile(settings: Any, name: str, path: Path) -> Profile:
    where = f"{path}: mongo.{name}"
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{where}: expected a mapping with a url, or the name of another profile.")
    for key in settings:
        if key not in Profile.model_fields:
            raise ConfigError(f"{where}: {unknown_setting('a profile', key, Profile.model_fields)}")
    try:
        profile = Profile.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        problem = f"{where}.{'.'.join(map(str, first['loc']))}: {_REASONS.get(first['type'], first['msg'])}."
    else:
        profile._name, profile._path = name, path
        return profile
    raise ConfigError(problem)


def _warn_if_shared(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        _log.warning("%s contains a password and can be read by others. Run: chmod 600 %s", path, path)
