"""Pipedrive's wire API over local HTTP, served from a synthetic company."""

from pdframe.sandbox.server.auth import ALL_SCOPES, OAuthClient
from pdframe.sandbox.server.faults import KINDS, Faults
from pdframe.sandbox.server.log import Logged, Stats
from pdframe.sandbox.server.serve import Server
from pdframe.sandbox.server.settings import Settings

__all__ = ["ALL_SCOPES", "KINDS", "Faults", "Logged", "OAuthClient", "Server", "Settings", "Stats"]
