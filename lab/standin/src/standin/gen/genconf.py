"""Writes `genconf/serve`: index files, packages, installer, and one upgrade script per run that asks for it."""

import hashlib
import json
import os
import shlex
import uuid

from . import packages, tarballs
from .config import resolve, script_reader


def flag(value):
    return "1" if value else "0"


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
    serve.write("dcos_install.sh", _install_script(args, release, everything, boot_id, config_id), 0o755)
    _write_cluster_packages(directory, everything)
    if upgrade_from is None:
        return None
    return _write_upgrade(serve, args, release, everything, upgrade_from)


def _table(everything):
    return {p.name: {"id": p.id, "filename": p.filename} for p in everything}


def _list_id(everything):
    return hashlib.sha1(json.dumps([p.id for p in everything]).encode()).hexdigest()


def _write_index(serve, everything, static, boot_id):
    archive = f"bootstrap/{boot_id}.bootstrap.tar.xz"
    if not serve.has(archive):
        serve.write(archive, tarballs.pack(*packages.bootstrap_tree(static)))
    serve.write(f"bootstrap/{boot_id}.active.json", json.dumps(sorted(p.id for p in static)))
    serve.write("bootstrap.latest", boot_id)
    serve.write("cluster-package-info.json", json.dumps(_table(everything), indent=2, sort_keys=True))
    if serve.release.has_package_lists:
        list_id = _list_id(everything)
        serve.write(f"package_lists/{list_id}.package_list.json", json.dumps([p.id for p in everything]))
        serve.write("cluster-package-list.latest", list_id)


def _write_cluster_packages(directory, everything):
    with open(os.path.join(directory, "genconf", "cluster_packages.json"), "w", encoding="utf-8") as stream:
        json.dump(_table(everything), stream, indent=2, sort_keys=True)


def _here_document(path, text, mode=None):
    lines = [f"    cat >{path} <<'TEXT'", text, "TEXT"]
    if mode:
        lines.append(f"    chmod {mode} {path}")
    return "\n".join(lines)


def _install_script(args, release, everything, boot_id, config_id):
    flags = "/etc/mesosphere/setup-flags"
    if release.has_package_lists:
        package_flags = f"    printf '%s\\n' {_list_id(everything)} >{flags}/cluster-package-list"
    else:
        package_flags = _here_document(f"{flags}/cluster-packages.json", json.dumps(_table(everything), sort_keys=True))
    credentials = ""
    if args["cluster_docker_credentials"] != "{}" and args["cluster_docker_credentials_write_to_etc"] == "true":
        credentials = _here_document("/etc/mesosphere/docker_credentials", args["cluster_docker_credentials"], "0600")
    values = {
        "version": release.text,
        "config_id": config_id,
        "bootstrap_id": boot_id,
        "repository_url": shlex.quote(args["bootstrap_url"]),
        "package_flags": package_flags,
        "rexray_config": args.get("rexray_config") or "rexray:\n  loglevel: info\n  service: none",
        "docker_credentials": credentials,
        "skip_download_when": "/opt/mesosphere/active/" if release.since(1, 10) else "/opt/mesosphere/",
        "needs_nogroup": flag(release.needs_nogroup),
        "needs_ifconfig": flag(release.needs_ifconfig),
        "needs_docker_info": flag(release.needs_docker_info),
        "accepts_enforcing": flag(release.accepts_enforcing_selinux),
        "checks_xfs": flag(release.checks_xfs_ftype),
        "warns_about_raid": flag(release.warns_about_raid_modules),
    }
    return fill(packages.source_text("gen", "templates", "dcos_install.sh"), values)


def fill(text, values):
    """Replaces each `@name@`."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _write_upgrade(serve, args, release, everything, upgrade_from):
    from .upgrade import script

    token = uuid.uuid4().hex
    path = f"upgrade/{token}/dcos_node_upgrade.sh"
    serve.write(path, script(args, release, [p.id for p in everything], upgrade_from), 0o755)
    return f"{args['bootstrap_url']}/{path}"


