import http.client
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest

import support
from node_on_loopback import until

SHIM = os.path.join(support.REPOSITORY, "lab/www/docker")
sys.path.insert(0, SHIM)


def load_shim():
    loader = importlib.machinery.SourceFileLoader("docker_shim", os.path.join(SHIM, "docker"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("docker_shim", loader))
    loader.exec_module(module)
    return module


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        cls.shim = load_shim()
        sys.dont_write_bytecode = before

    def test_options_end_at_the_image(self):
        words = ["-d", "--name", "x", "-p8080:80", "--restart=always", "nginx", "-v", "y"]
        self.assertEqual(self.shim.split_options(words, self.shim.VALUE_OPTIONS), (
            [("-d", ""), ("--name", "x"), ("-p", "8080:80"), ("--restart", "always")], ["nginx", "-v", "y"]))

    def test_published_ports(self):
        self.assertEqual(self.shim.parse_port("9999:80"), ("0.0.0.0", 9999, 80))
        self.assertEqual(self.shim.parse_port("10.0.0.1:80:80/tcp"), ("10.0.0.1", 80, 80))

    def test_images_have_a_tag(self):
        self.assertEqual(self.shim.image_name("nginx"), "nginx:latest")
        self.assertEqual(self.shim.image_name("host:5000/nginx"), "host:5000/nginx:latest")
        self.assertEqual(self.shim.image_name("nginx:1.25"), "nginx:1.25")

    def test_templates(self):
        value = {"State": {"Running": True, "Status": "running"}}
        self.assertEqual(self.shim.render("{{.State.Running}} {{ json .State.Status }}", value), 'true "running"')
        with self.assertRaises(self.shim.Failure):
            self.shim.render("{{.Stat}}", value)

    def test_described_names_ports_and_mounts(self):
        c = {"id": "1" * 64, "name": "web", "image": "nginx:latest", "arguments": [], "ports": [["0.0.0.0", 9999, 80]],
             "volumes": [["/a", "/usr/share/nginx/html", "ro"]], "env": [], "labels": {}, "restart": "on-failure:3",
             "network": "default", "created": 0, "started": 0, "exit_code": 0}
        found = self.shim.described(c, False)
        self.assertEqual(found["State"]["Status"], "created")
        self.assertEqual(found["HostConfig"]["RestartPolicy"], {"Name": "on-failure", "MaximumRetryCount": 3})
        self.assertEqual(found["HostConfig"]["PortBindings"], {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "9999"}]})
        self.assertEqual(found["Mounts"][0]["RW"], False)


class WebServer(unittest.TestCase):
    def test_serves_like_nginx_with_an_unprivileged_worker(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(f"{folder}/a/b")
            for name, text in (("a/x.txt", "hello"), ("a/secret", "no"), ("outside", "no")):
                with open(f"{folder}/{name}", "w", encoding="utf-8") as stream:
                    stream.write(text)
            os.chmod(f"{folder}/a/secret", 0o600)
            server = subprocess.Popen([sys.executable, f"{SHIM}/httpd.py", "--listen", "127.0.77.40:8078", "--mount", f"{folder}/a=/"])
            self.addCleanup(server.wait)
            self.addCleanup(server.kill)

            def ask(method, path):
                connection = http.client.HTTPConnection("127.0.77.40", 8078, timeout=5)
                try:
                    connection.request(method, path)
                    answer = connection.getresponse()
                    return answer.status, answer.getheader("Content-Length"), answer.read()
                except OSError:
                    return None
                finally:
                    connection.close()

            self.assertTrue(until(lambda: ask("HEAD", "/x.txt")))
            self.assertEqual(ask("GET", "/x.txt"), (200, "5", b"hello"))
            self.assertEqual(ask("HEAD", "/x.txt"), (200, "5", b""))
            self.assertEqual([ask("GET", p)[0] for p in ("/none", "/secret", "/b/", "/../outside", "/%2e%2e/outside")],
                             [404, 403, 403, 404, 404])
            self.assertEqual(ask("POST", "/x.txt")[0], 405)


if __name__ == "__main__":
    unittest.main()
