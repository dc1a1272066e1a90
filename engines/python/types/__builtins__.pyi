# What handlers in Python have besides the language, for editors: docs/PYTHON.md describes it.
# Pyright and what is built on it take names of __builtins__.pyi in a project's folder as built in.
# The engine does not read this file. A test compares the names in here with those of the engine.
from typing import Any, Awaitable, Callable, Coroutine, Literal, Protocol

Code = Literal[
    "OK", "INVALID", "BAD_HANDLE", "AGAIN", "CLOSED", "DENIED", "QUOTA", "NOT_FOUND",
    "UNSUPPORTED", "TIMEOUT", "REFUSED", "UNREACHABLE", "TLS", "RESET", "CONFLICT",
]

class Connection(Protocol):
    """A connection. A handler may keep its own values in it."""

    def send(self, what: str | bytes | bytearray | memoryview, /) -> bool:
        """Sends. False: something waits, or the connection takes nothing any more."""
    def close(self) -> None:
        """Closes when all is sent."""
    def finish(self) -> None:
        """Says that nothing more is sent, when all is sent."""
    def abort(self) -> None:
        """Closes now."""
    def pause(self) -> None:
        """Stops reading."""
    def resume(self) -> None:
        """Reads again."""
    def timer(self, token: int, ms: int, /) -> None:
        """Has timer called after this many ms. A negative number cancels it."""
    def secure(self, role: Literal["server", "client"], name: str = ..., /) -> None:
        """Begins TLS; secured follows. A client names whose certificate the peer must have."""
    def splice(self, other: Connection, /) -> None:
        """Joins the two: the host relays, and the script sees nothing more."""
    handler: Any
    """What has the functions for this connection; another one may be set."""
    @property
    def waiting(self) -> int:
        """How many bytes wait to be sent."""
    @property
    def peer(self) -> str: ...
    @property
    def local_address(self) -> str: ...
    @property
    def listener(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def transport(self) -> str: ...
    @property
    def server_name(self) -> str: ...
    @property
    def alpn(self) -> str: ...
    @property
    def tls_version(self) -> str: ...
    @property
    def cipher(self) -> str: ...
    @property
    def client_subject(self) -> str: ...
    @property
    def client_names(self) -> str: ...
    @property
    def client_fingerprint(self) -> str: ...
    @property
    def certificate(self) -> str: ...
    @property
    def message_type(self) -> Literal["text", "binary", ""]:
        """Over WebSocket: what the last message was; "" before the first one."""
    @property
    def target(self) -> str:
        """Over WebSocket: the path and query that the client has asked for."""
    @property
    def origin(self) -> str:
        """Over WebSocket: where the client's page is from; "" for a client that is no browser."""
    @property
    def subprotocol(self) -> str:
        """Over WebSocket: the subprotocol that both sides have agreed on."""
    def __getattr__(self, name: str, /) -> Any: ...
    def __setattr__(self, name: str, value: Any, /) -> None: ...

class Log(Protocol):
    """Writes a line of the log."""

    def __call__(self, *what: object) -> None: ...
    def debug(self, *what: object) -> None: ...
    def info(self, *what: object) -> None: ...
    def warn(self, *what: object) -> None: ...
    def warning(self, *what: object) -> None: ...
    def error(self, *what: object) -> None: ...

config: Any
"""The listener's config."""
log: Log

def count(name: str, n: int = 1, /) -> None:
    """Adds n to a metric."""
def dial(address: str, handler: Any = None, /) -> Awaitable[Connection]:
    """Connects, and raises an OSError that ends with the code if that fails. Without a handler nobody reads."""
def sleep(ms: float, /) -> Awaitable[None]:
    """Waits."""
def after(ms: float, f: Callable[[], object], /) -> int:
    """Calls f later. It answers an id for cancel."""
def cancel(id: int, /) -> None:
    """Forgets what after was asked for."""
def spawn(coroutine: Coroutine[Any, Any, Any], /) -> None:
    """Begins an async function beside the current one."""
def random_bytes(n: int, /) -> bytes:
    """Random bytes that are good enough for keys."""
