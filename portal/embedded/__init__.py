"""The whole product on one machine: Valkey, SeaweedFS, web server and workers as child processes of one command."""

from portal.embedded.main import main
from portal.embedded.process import CannotStart, Server
from portal.embedded.servers import start_seaweedfs, start_valkey

__all__ = ["CannotStart", "Server", "main", "start_seaweedfs", "start_valkey"]
