import hashlib
import json
import os
import re
import subprocess
import tarfile
import tempfile
import unittest

import support
import assemble
from standin.gen import units
from standin.release import EMULATED, Release

CONFIG = """\
bootstrap_url: http://10.0.0.1:9999
cluster_name: lab
exhibitor_storage_backend: static
master_discovery: static
master_list: [10.0.0.12, 10.0.0.9, 10.0.0.1]
"""


class Directory(unittest.TestCase):
    """A bootstrap host's working directory, with a docker that answers or does not."""

    version = "2.0.6"

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name
        os.makedirs(f"{self.path}/genconf")
        os.makedirs(f"{self.path}/tools")
        self.write("genconf/config.yaml", CONFIG)
        self.write("genconf/ip-detect", "#!/bin/sh\necho 10.0.0.1\n")
        self.docker(0)
        self.install(self.version)

    def install(self, version):
        with open(f"{self.path}/dcos_generate_config.sh", "wb") as stream:
            stream.write(assemble.build(version))

    def docker(self, code):
        self.write("tools/docker", f"#!/bin/sh\nexit {code}\n")
        os.chmod(f"{self.path}/tools/docker", 0o755)

    def write(self, name, text):
        with open(f"{self.path}/{name}", "w", encoding="utf-8") as stream:
            stream.write(text)

    def read(self, name):
        with open(f"{self.path}/{name}", encoding="utf-8") as stream:
            return stream.read()

    def run_it(self, *arguments, expect=0, knobs=None, text=""):
        environment = {"PATH": f"{self.path}/tools:{os.environ['PATH']}", "PORT": "39471"}
        if knobs is not None:
            os.makedirs(f"{self.path}/root/etc/mesosphere", exist_ok=True)
            self.write("root/etc/mesosphere/standin.json", json.dumps(knobs))
            environment["STANDIN_ROOT"] = f"{self.path}/root"
        done = subprocess.run(["bash", "dcos_generate_config.sh", *arguments], cwd=self.path, env=environment,
                              input=text, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done

    def serve(self):
        found = []
        for folder, _, files in os.walk(f"{self.path}/genconf/serve"):
            found += [os.path.relpath(os.path.join(folder, f), f"{self.path}/genconf/serve") for f in files]
        return sorted(found)

    def package(self, name):
        table = json.loads(self.read("genconf/serve/cluster-package-info.json"))
        with tarfile.open(f"{self.path}/genconf/serve/{table[name]['filename']}") as archive:
            return {m.name: archive.extractfile(m).read().decode() for m in archive if m.isfile()}


class Genconf(Directory):
    def test_output_tree(self):
        done = self.run_it()
        lines = done.stdout.splitlines()
        self.assertIn("Generating configuration files...", lines)
        self.assertIn("Generating Bash configuration files for DC/OS", lines)
        files = self.serve()
        for name in ("dcos_install.sh", "bootstrap.latest", "cluster-package-info.json", "cluster-package-list.latest"):
            self.assertIn(name, files)
        boot = self.read("genconf/serve/bootstrap.latest")
        self.assertIn(f"bootstrap/{boot}.bootstrap.tar.xz", files)
        self.assertIn(f"bootstrap/{boot}.active.json", files)
        list_id = self.read("genconf/serve/cluster-package-list.latest")
        ids = json.loads(self.read(f"genconf/serve/package_lists/{list_id}.package_list.json"))
        for package in ids:
            self.assertIn(f"packages/{package.partition('--')[0]}/{package}.tar.xz", files)
        config = next(i for i in ids if i.startswith("dcos-config--"))
        self.assertRegex(config, r"^dcos-config--setup_[0-9a-f]{40}$")
        self.assertIn(f"Package filename: packages/dcos-config/{config}.tar.xz", lines)
        self.assertTrue(os.path.isdir(f"{self.path}/genconf/state"))
        self.assertTrue(any(re.fullmatch(r"dcos-genconf\.[0-9a-f]{18}-[0-9a-f]{18}\.tar", n) for n in os.listdir(self.path)))

    def test_configuration_package(self):
        self.run_it()
        files = self.package("dcos-config")
        self.assertEqual(files["etc/exhibitor"],
                         "EXHIBITOR_BACKEND=STATIC\nEXHIBITOR_STATICENSEMBLE=1:10.0.0.1,2:10.0.0.12,3:10.0.0.9\n")
        self.assertEqual(files["etc_master/master_count"], "3\n")
        self.assertIn("MESOS_QUORUM=2\n", files["etc_master/mesos-master"])
        self.assertEqual(json.loads(files["etc/master_list"]), ["10.0.0.1", "10.0.0.12", "10.0.0.9"])
        self.assertEqual(files["bin/detect_ip"], "#!/bin/sh\necho 10.0.0.1\n")
        self.assertEqual(json.loads(self.package("dcos-metadata")["etc/dcos-version.json"])["version"], "2.0.6")

    def test_second_run_changes_nothing_but_indexes(self):
        self.run_it()
        first = self.serve()
        install = self.read("genconf/serve/dcos_install.sh")
        self.run_it("--genconf")
        self.assertEqual((self.serve(), self.read("genconf/serve/dcos_install.sh")), (first, install))

    def test_changed_configuration_adds_packages_and_keeps_the_old(self):
        self.run_it()
        first = set(self.serve())
        self.write("genconf/config.yaml", CONFIG.replace("10.0.0.12", "10.0.0.13"))
        self.run_it()
        added = set(self.serve()) - first
        self.assertFalse(first - set(self.serve()))
        self.assertEqual(sorted({a.split("/")[0] for a in added}), ["package_lists", "packages"])

    def test_errors_are_all_shown_and_nothing_is_served(self):
        self.write("genconf/config.yaml", CONFIG.replace("cluster_name: lab\n", "").replace(":9999", ":9999/"))
        done = self.run_it(expect=1)
        self.assertIn("cluster_name: Must set cluster_name, no way to calculate value.\n", done.stderr)
        self.assertIn("bootstrap_url: Must not end in a '/'\n", done.stderr)
        self.assertEqual(self.serve(), [])

    def test_missing_or_odd_configuration(self):
        self.write("genconf/config.yaml", "- a\n")
        self.run_it(expect=1)
        os.unlink(f"{self.path}/genconf/config.yaml")
        self.assertIn("genconf/config.yaml", self.run_it(expect=1).stderr)

    def test_docker_must_answer_unless_the_knob_says_otherwise(self):
        self.docker(1)
        self.run_it("--version", expect=1)
        self.run_it("--version", knobs={"require_docker": False})

    def test_tls_failure_exits_zero_without_output(self):
        self.run_it(knobs={"fail": {"tls_bootstrap_fails": True}})
        self.assertEqual(self.serve(), [])


class Flags(Directory):
    def test_exit_codes(self):
        self.run_it("--no-such-flag", expect=2)
        self.run_it("--genconf", "--version", expect=2)
        self.run_it("--generate-node-upgrade-script", expect=1)
        self.assertIn("usage", self.run_it("--help").stdout)

    def test_version(self):
        self.assertEqual(json.loads(self.run_it("--version").stdout), {"variant": "open", "version": "2.0.6"})

    def test_hash_is_the_last_line(self):
        self.assertRegex(self.run_it("--hash-password", "x").stdout.splitlines()[-1], r"^\$6\$")

    def test_removed_flags(self):
        self.run_it("--validate-config", expect=2)
        self.run_it("--preflight", expect=2)
        self.run_it("--web", expect=1)

    def test_flags_of_older_versions(self):
        self.install("1.12.3")
        self.run_it("--validate-config")
        self.write("genconf/config.yaml", "a: 1\n")
        self.run_it("--validate-config", expect=1)
        self.run_it("--web", expect=1)

    def test_taken_port_stops_older_installers(self):
        import socket

        self.install("1.12.3")
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 39471))
            taken.listen()
            self.assertIn("port is already allocated", self.run_it("--version", expect=125).stderr)


class Scripts(Directory):
    def test_every_version_makes_valid_bash(self):
        for version in EMULATED:
            with self.subTest(version=version):
                self.install(version)
                self.run_it()
                script = f"{self.path}/genconf/serve/dcos_install.sh"
                self.assertEqual(subprocess.run(["bash", "-n", script], check=False).returncode, 0)
                self.assertNotRegex(self.read("genconf/serve/dcos_install.sh"), r"@[a-z_]+@")
                listed = "cluster-package-list" in self.read("genconf/serve/dcos_install.sh")
                self.assertEqual(listed, version != "1.9.10")

    def test_usage_exits_with_one(self):
        self.run_it()
        script = f"{self.path}/genconf/serve/dcos_install.sh"
        for arguments in ([], ["-h"], ["--odd", "master"]):
            done = subprocess.run(["bash", script, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("Usage:" if os.geteuid() == 0 or "-h" in arguments else "", done.stdout)


class Units(unittest.TestCase):
    def test_main_units_of_each_role(self):
        release = Release("2.0.6")
        self.assertIn("dcos-mesos-master.service", units.of_role(release, "master"))
        self.assertIn("dcos-exhibitor.service", units.of_role(release, "master"))
        self.assertIn("dcos-mesos-slave.service", units.of_role(release, "slave"))
        self.assertNotIn("dcos-mesos-slave.service", units.of_role(release, "slave_public"))
        self.assertIn("dcos-mesos-slave-public.service", units.of_role(release, "slave_public"))

    def test_names_change_with_versions(self):
        old, new = units.of_role(Release("1.9.10"), "master"), units.of_role(Release("2.2.0"), "master")
        self.assertIn("dcos-3dt.service", old)
        self.assertIn("dcos-spartan.service", old)
        self.assertNotIn("dcos-checks-api.service", old)
        self.assertIn("dcos-etcd.service", new)
        self.assertNotIn("dcos-history.service", new)


class Build(unittest.TestCase):
    def test_tree_is_complete_repeatable_and_built_once(self):
        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(support.REPOSITORY, "lab/www/build.sh")
            for name in ("a", "b"):
                subprocess.run(["bash", script, f"{folder}/{name}"], check=True)
            trees = []
            for name in ("a", "b"):
                tree = {}
                for where, _, files in os.walk(f"{folder}/{name}"):
                    for file in files:
                        path = os.path.join(where, file)
                        with open(path, "rb") as stream:
                            tree[os.path.relpath(path, f"{folder}/{name}")] = hashlib.sha256(stream.read()).hexdigest()
                trees.append(tree)
            self.assertEqual(trees[0], trees[1])
            for version in EMULATED:
                path = f"dcos/stable/{version}/dcos_generate_config.sh"
                with open(f"{folder}/a/{path}.sha256", encoding="ascii") as stream:
                    self.assertEqual(stream.read(), f"{trees[0][path]}  dcos_generate_config.sh\n")
            for name in ("Packages", "Packages.gz", "Release"):
                self.assertIn(f"debian/{name}", trees[0])
            before = os.stat(f"{folder}/a/debian/Packages").st_mtime_ns
            subprocess.run(["bash", script, f"{folder}/a"], check=True)
            self.assertEqual(os.stat(f"{folder}/a/debian/Packages").st_mtime_ns, before)
            self.assertEqual(sorted(os.listdir(folder)), ["a", "b"])


if __name__ == "__main__":
    unittest.main()
