"""A TCP balancer as people put before a proxy: bytes both ways, and a PROXY header (version 2) that says who connected.
balancer.py LISTEN_HOST:PORT BACKEND_HOST:PORT"""

import asyncio
import socket
import struct
import sys

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(source, target):
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0]) + struct.pack(">HH", source[1], target[1])
    return SIGNATURE + b"\x21\x11" + struct.pack(">H", len(addresses)) + addresses


async def pour(reader, writer):
    """Until the end of that direction, which is passed on by itself (half-close)."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def serve(backend, reader, writer):
    try:
        up_reader, up_writer = await asyncio.open_connection(*backend)
    except OSError:
        writer.close()
        return
    up_writer.write(header(writer.get_extra_info("peername"), writer.get_extra_info("sockname")))
    await asyncio.gather(pour(reader, up_writer), pour(up_reader, writer))
    for one in (writer, up_writer):
        one.close()


async def main(listen, backend):
    server = await asyncio.start_server(lambda r, w: serve(backend, r, w), *listen, backlog=512)
    async with server:
        await server.serve_forever()


def place(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


if __name__ == "__main__":
    asyncio.run(main(place(sys.argv[1]), place(sys.argv[2])))
