"""slow_link.py DELAY_MS MARK: a proxy for redirected TCP connections that hands everything on later, both ways.

Prints its port, and ends when its standard input does. Its own packets bear the mark, so that they are not redirected.
"""

import asyncio
import contextlib
import os
import socket
import struct
import sys

SO_ORIGINAL_DST = 80
CHUNK = 1 << 16
CHUNKS_MAX = 64  # on their way in one direction


async def hand_on(reader, writer, delay):
    """Everything that is read, each piece `delay` later; the end of it too."""
    loop = asyncio.get_running_loop()
    under_way = asyncio.Queue(CHUNKS_MAX)

    async def read():
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                await under_way.put((loop.time() + delay, data))
        await under_way.put((loop.time() + delay, b""))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
    finally:
        reading.cancel()
        writer.close()


async def serve(reader, writer, delay, mark):
    target = writer.get_extra_info("socket").getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    port, address = struct.unpack("!2xH4s8x", target)
    onward = socket.socket()
    onward.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    onward.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(onward, (socket.inet_ntoa(address), port))
        there_reader, there_writer = await asyncio.open_connection(sock=onward)
        await asyncio.gather(hand_on(reader, there_writer, delay), hand_on(there_reader, writer, delay))
    except (OSError, asyncio.CancelledError):  # the two of them find out by the end of both connections
        onward.close()
        writer.close()


async def main():
    delay, mark = float(sys.argv[1]) / 1000, int(sys.argv[2])
    server = await asyncio.start_server(lambda reader, writer: serve(reader, writer, delay, mark), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)  # all connections end here and now, in the midst of whatever they hand on


asyncio.run(main())
