#!/usr/bin/env python3
"""TCP load balancer of the lab: hands each connection on to a target that accepts it.

Usage: load-balancer.py IP FILE PORT... The targets' addresses are the words of FILE, read anew for each connection.
"""

import asyncio
import random
import sys

CONNECT_LIMIT = 1.0


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def target(file, port):
    """A connection to any target that listens, or None."""
    with open(file, encoding="ascii") as stream:
        addresses = stream.read().split()
    random.shuffle(addresses)
    for address in addresses:
        try:
            return await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_LIMIT)
        except (OSError, asyncio.TimeoutError):
            continue
    return None


async def main(ip, file, ports):
    def server(port):
        async def serve(reader, writer):
            found = await target(file, port)
            if found is None:
                writer.close()
                return
            await asyncio.gather(pump(reader, found[1]), pump(found[0], writer))

        return asyncio.start_server(serve, ip, port)

    servers = [await server(port) for port in ports]
    await asyncio.gather(*(s.serve_forever() for s in servers))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], sys.argv[2], [int(port) for port in sys.argv[3:]]))
