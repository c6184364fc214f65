"""Accept TLS connections of clients with a certificate, and forward them to a server.

`python tls_front.py HOST:PORT CERTIFICATE AUTHORITY` prints the address at which it listens, and
runs until it is killed.
"""

import asyncio
import ssl
import sys


async def main(behind, certificate, authority):
    host, _, port = behind.rpartition(":")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(certificate)

    async def copy(source, target):
        while piece := await source.read(65536):
            target.write(piece)
            await target.drain()

    async def carry(reader, writer):
        to_server = await asyncio.open_connection(host, int(port))
        ways = {
            asyncio.ensure_future(copy(reader, to_server[1])),
            asyncio.ensure_future(copy(to_server[0], writer)),
        }
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, to_server[1]):
            end.transport.abort()

    server = await asyncio.start_server(carry, "127.0.0.1", 0, ssl=context)
    print(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
