"""What the two Python clients have in common: their scenarios, over the few methods that their sockets share.

A socket of a client has: send(message), receive(), ping(payload) (returns when the pong came), close(code,
reason), closed() (code and reason of the end), extensions, protocol. `open_socket(deflate=False, protocols=())`
makes one and `refused()` returns the status of a handshake for /refuse.
"""

import asyncio
import os
import sys

TEXT = "the same words again and again, "


def compressible(size):
    return (TEXT * (size // len(TEXT) + 1))[:size]


def same(seen, expected):
    if seen != expected:
        raise AssertionError(f"{seen!r:.200}, not {expected!r:.200}")


class Scenarios:
    def __init__(self, open_socket, refused):
        self.open_socket, self.refused = open_socket, refused

    async def ask(self, socket, message):
        await socket.send(message)
        return await socket.receive()

    async def finish(self, socket):
        await socket.close(1000, "")
        same((await socket.closed())[0], 1000)

    async def text_and_binary_echo(self, s):
        for text in ("hello", "", "gr\u00fc\u00dfe \U0001f44b", "x" * 125, "x" * 126, "x" * 65536):
            same(await self.ask(s, text), text)
        for size in (0, 1, 125, 126, 65535, 65536):
            same(await self.ask(s, b"\xa5" * size), b"\xa5" * size)

    async def one_mib_both_ways(self, s):
        sent = os.urandom(1 << 20)
        same(await self.ask(s, sent) == sent, True)

    async def a_large_message_from_the_server(self, s):
        size = 5000000
        same(await self.ask(s, f"large {size}") == (b"abcdefghijklm" * (size // 13 + 1))[:size], True)

    async def many_messages_in_order(self, s):
        for i in range(500):
            await s.send(f"message {i}")
        for i in range(500):
            same(await s.receive(), f"message {i}")

    async def fragmented_message_from_the_client(self, s):
        await s.send(["first ", "", "last"])
        same(await s.receive(), "first last")

    async def fragmented_message_from_the_server(self, s):
        same(await self.ask(s, "fragments"), "one two three")

    async def ping_from_the_client(self, s):
        await s.ping(b"are you there")

    async def ping_from_the_server(self, s):
        same(await self.ask(s, "ping payload"), "pong payload")

    async def close_code_from_the_client(self, s):
        name = f"python-{os.getpid()}"
        await s.send(f"name {name}")
        await s.close(4001, "enough")
        other = await self.open_socket()
        while (answer := await self.ask(other, f"closed {name}")) == "open":
            pass
        same(answer, "4001 enough")
        await self.finish(other)

    async def close_code_from_the_server(self, s):
        await s.send("close 4002 go away")
        same(await s.closed(), (4002, "go away"))

    async def permessage_deflate(self, s):
        await s.close(1000, "")
        s = await self.open_socket(deflate=True)
        same("permessage-deflate" in s.extensions, True)
        for size in (10, 1000, 1 << 20, 10):
            same(await self.ask(s, compressible(size)), compressible(size))
        await self.finish(s)

    async def without_permessage_deflate(self, s):
        same("permessage-deflate" in s.extensions, False)
        same(await self.ask(s, compressible(1 << 20)) == compressible(1 << 20), True)

    async def subprotocol(self, s):
        await s.close(1000, "")
        s = await self.open_socket(protocols=("other", "chat"))
        same(s.protocol, "chat")
        await self.finish(s)

    async def refused_handshake(self, s):
        same(await self.refused(), 401)

    async def run(self, name):
        scenario = getattr(self, name.replace("1 MiB", "one mib").replace(" ", "_").replace("-", "_"))
        socket = await self.open_socket()
        try:
            await scenario(socket)
        finally:
            await socket.close(1000, "")

    async def run_all(self, names):
        for name in names:
            try:
                await asyncio.wait_for(self.run(name), 20)
                print("ok", name, flush=True)
            except Exception as error:  # whatever it is, the scenario failed
                why = " ".join(f"{type(error).__name__} {error}".split())[:400]
                print(f"FAILED {name}: {why}", flush=True)


def run(open_socket, refused):
    asyncio.run(Scenarios(open_socket, refused).run_all(sys.argv[2:]))
