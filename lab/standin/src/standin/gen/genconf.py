"""Writes `genconf/serve`: index files, packages, installer, and one upgrade script per run that asks for it."""

import hashlib
import json
import os
import uuid

from . import packages, tarballs
from .config import resolve, script_reader
from .scripts import install_script, list_id, table
from .upgrade import script


def identity_of(release):
    """Commit of the emulated image and its own short form in the container's name."""
    return hashlib.sha1(f"dcos-image {release}".encode()).hexdigest()


def configuration_id(args, release):
    text = json.dumps({**args, "dcos_version": release.text}, sort_keys=True)
    return hashlib.sha1(text.encode()).hexdigest()


class Serve:
    """The web root of one installer directory."""

    def __init__(self, directory, release):
        self.root = os.path.join(directory, "genconf", "serve")
        self.release = release

    def write(self, path, data, mode=0o644):
        target = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(f"{target}.new", "wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
        os.chmod(f"{target}.new", mode)
        os.replace(f"{target}.new", target)

    def has(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def write_package(self, package):
        if not self.has(package.filename):
            self.write(package.filename, tarballs.pack(package.files))


def generate(directory, release, given, upgrade_from=None):
    """Validates and writes everything; returns the URL of the upgrade script or None.

    Raises `ConfigErrors` before anything is written.
    """
    args = resolve(given, release, script_reader(directory))
    print("Generating configuration files...", flush=True)
    config_id = configuration_id(args, release)
    static = packages.static_packages(release)
    boot_id = packages.bootstrap_id(release, static)
    generated = [
        packages.config_package(args, {k: args[k] for k in given}, config_id),
        packages.metadata_package(release, identity_of(release), boot_id, config_id),
    ]
    serve = Serve(directory, release)
    for package in static:
        serve.write_package(package)
    for package in generated:
        print(f"Package filename: {package.filename}")
        serve.write_package(package)
    everything = sorted(static + generated, key=lambda p: p.id)
    _write_index(serve, everything, static, boot_id)
    print("Generating Bash configuration files for DC/OS")
    serve.write("dcos_install.sh", install_script(args, release, everything, boot_id, config_id), 0o755)
    _write_cluster_packages(directory, everything)
    if upgrade_from is None:
        return None
    return _write_upgrade(serve, args, release, everything, upgrade_from)


def _write_index(serve, everything, static, boot_id):
    archive = f"bootstrap/{boot_id}.bootstrap.tar.xz"
    if not serve.has(archive):
        serve.write(archive, tarballs.pack(*packages.bootstrap_tree(static)))
    serve.write(f"bootstrap/{boot_id}.active.json", json.dumps(sorted(p.id for p in static)))
    serve.write("bootstrap.latest", boot_id)
    serve.write("cluster-package-info.json", json.dumps(table(everything), indent=2, sort_keys=True))
    if serve.release.has_package_lists:
        own = list_id(everything)
        serve.write(f"package_lists/{own}.package_list.json", json.dumps([p.id for p in everything]))
        serve.write("cluster-package-list.latest", own)


def _write_cluster_packages(directory, everything):
    with open(os.path.join(directory, "genconf", "cluster_packages.json"), "w", encoding="utf-8") as stream:
        json.dump(table(everything), stream, indent=2, sort_keys=True)


def _write_upgrade(serve, args, release, everything, upgrade_from):
    token = uuid.uuid4().hex
    path = f"upgrade/{token}/dcos_node_upgrade.sh"
    serve.write(path, script(args, release, everything, upgrade_from), 0o755)
    return f"{args['bootstrap_url']}/{path}"


