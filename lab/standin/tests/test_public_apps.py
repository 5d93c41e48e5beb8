import asyncio
import unittest

import support  # noqa: F401  (puts the stand-in on the path)
from standin.node import net
from standin.node.public_apps import Balancer, shown

LB = {"id": "/marathon-lb", "instances": 1, "args": ["sse", "--group", "external"]}


def app(port, group="external", instances=2):
    docker = {"portMappings": [{"containerPort": 80, "servicePort": port}]}
    return {"id": "/hello", "instances": instances, "labels": {"HAPROXY_GROUP": group}, "container": {"docker": docker}}


class Shown(unittest.TestCase):
    def test_only_apps_of_the_group_and_only_with_a_balancer(self):
        self.assertEqual(shown([app(10000)]), {})
        self.assertEqual(sorted(shown([LB, app(10000), app(10001, "internal"), app(10002, "external,internal")])), [9090, 10000, 10002])

    def test_instances_take_turns_and_a_removed_app_closes_its_port(self):
        async def scenario():
            balancer = Balancer("127.0.77.41", lambda: None)
            await balancer.show(shown([LB, app(10000)]))
            pages = {(await net.http("GET", "http://127.0.77.41:10000/"))[2] for _ in range(4)}
            self.assertEqual(len(pages), 2)
            self.assertIn(b"Hello", pages.pop())
            status, _, _ = await net.http("GET", "http://127.0.77.41:9090/_haproxy_health_check")
            self.assertEqual(status, 200)
            await balancer.show(shown([LB]))
            with self.assertRaises(OSError):
                await net.http("GET", "http://127.0.77.41:10000/")
            await balancer.show({})

        asyncio.run(scenario())


if __name__ == "__main__":
    unittest.main()
