"""`pkgpanda`: fetches packages, builds the active tree of `/opt/mesosphere`, owns the unit files and `dcos.target`."""

import argparse
import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

from . import identity, net, paths

PACKAGES = os.path.join(paths.MESOSPHERE, "packages")
ACTIVE = os.path.join(paths.MESOSPHERE, "active")
MARKER = os.path.join(paths.MESOSPHERE, "bootstrap")
WANTS = os.path.join(paths.UNITS, "dcos.target.wants")
TARGET = os.path.join(paths.UNITS, "dcos.target")
TREES = ("bin", "etc", "lib", "include")
FILES = ("environment", "environment.export", "active.buildinfo.full.json")
USERS = ("dcos_exhibitor", "dcos_marathon", "dcos_metronome", "dcos_cosmos", "dcos_mesos_dns", "dcos_adminrouter",
         "dcos_diagnostics", "dcos_log", "dcos_history", "dcos_bouncer", "dcos_telegraf", "dcos_net_rest")


class PkgpandaError(Exception):
    """What could not be done with a package."""


def systemctl(*words, check=True):
    done = subprocess.run(["systemctl", *words], check=False)
    if check and done.returncode:
        raise PkgpandaError(f"systemctl {' '.join(words)} failed with {done.returncode}")


# Fetching


def repository_url():
    url = paths.read(os.path.join(paths.SETUP_FLAGS, "repository-url"))
    if not url:
        raise PkgpandaError(f"{paths.SETUP_FLAGS}/repository-url is missing")
    return url


async def _download(url):
    if url.startswith("file://"):
        with open(url[len("file://"):], "rb") as stream:
            return stream.read()
    last = "no attempt"
    for attempt in range(5):
        if attempt:
            await asyncio.sleep(1)
        try:
            status, _, body = await net.http("GET", url, timeout=30)
        except OSError as problem:
            last = str(problem)
            continue
        if status == 200:
            return body
        last = f"HTTP {status}"
        if status == 404:
            break
    raise PkgpandaError(f"{url}: {last}")


def package_ids(repository):
    """The ids the served configuration wants on this node."""
    flags = paths.SETUP_FLAGS
    listed = paths.read(os.path.join(flags, "cluster-package-list"))
    if listed:
        url = f"{repository}/package_lists/{listed.strip()}.package_list.json"
        return json.loads(asyncio.run(_download(url)))
    table = paths.read(os.path.join(flags, "cluster-packages.json"))
    if not table:
        raise PkgpandaError(f"{flags} names no packages")
    return sorted(entry["id"] for entry in json.loads(table).values())


def fetch(repository, ids):
    """Downloads what is not there yet; a package appears complete or not at all."""

    async def one(package, gate):
        if os.path.isdir(os.path.join(PACKAGES, package)):
            return
        name = package.partition("--")[0]
        async with gate:
            body = await _download(f"{repository}/packages/{name}/{package}.tar.xz")
        scratch = os.path.join(PACKAGES, f".{package}.new")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            with tarfile.open(fileobj=io.BytesIO(body), mode="r:xz") as archive:
                archive.extractall(scratch)
        except (tarfile.TarError, EOFError, OSError) as problem:
            raise PkgpandaError(f"{package}: broken archive: {problem}") from problem
        os.rename(scratch, os.path.join(PACKAGES, package))
        print(f"Fetched: {package}")

    async def all_of_them():
        gate = asyncio.Semaphore(4)
        await asyncio.gather(*(one(package, gate) for package in ids))

    os.makedirs(PACKAGES, exist_ok=True)
    asyncio.run(all_of_them())


# The active tree


def active_ids():
    if not os.path.isdir(ACTIVE):
        return []
    return sorted(os.path.basename(os.readlink(os.path.join(ACTIVE, name))) for name in os.listdir(ACTIVE))


def _variants(role, stem):
    return (stem, f"{stem}_{role}")


def _collect(ids, role):
    """What the packages put where: `tree -> entry -> source`, and `unit -> source`."""
    trees, units = {tree: {} for tree in TREES}, {}
    for package in ids:
        home = os.path.join(PACKAGES, package)
        if not os.path.isdir(home):
            raise PkgpandaError(f"package {package} is not on this node, fetch it first")
        for tree in TREES:
            for folder in _variants(role, tree):
                source = os.path.join(home, folder)
                for entry in sorted(os.listdir(source)) if os.path.isdir(source) else ():
                    if entry in trees[tree] and folder == tree:
                        raise PkgpandaError(f"{package} and another package both bring {tree}/{entry}")
                    trees[tree][entry] = os.path.join(source, entry)
        for folder in _variants(role, "dcos.target.wants"):
            source = os.path.join(home, folder)
            for entry in sorted(os.listdir(source)) if os.path.isdir(source) else ():
                units[entry] = os.path.join(source, entry)
    return trees, units


def _write_new(ids, trees):
    for tree, entries in trees.items():
        folder = os.path.join(paths.MESOSPHERE, f"{tree}.new")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for entry, source in entries.items():
            os.symlink(source, os.path.join(folder, entry))
    folder = f"{ACTIVE}.new"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for package in ids:
        os.symlink(os.path.join(PACKAGES, package), os.path.join(folder, package.partition("--")[0]))
    variables = {
        "LD_LIBRARY_PATH": "/opt/mesosphere/lib",
        "PATH": "/opt/mesosphere/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "DCOS_VERSION": json.loads(_text_of(trees["etc"]["dcos-version.json"]))["version"],
    }
    lines = [f"{key}={value}" for key, value in variables.items()]
    paths.write(os.path.join(paths.MESOSPHERE, "environment.new"), "\n".join(lines) + "\n")
    exports = "".join(f"export {line}\n" for line in lines)
    paths.write(os.path.join(paths.MESOSPHERE, "environment.export.new"), exports)
    info = {package.partition("--")[0]: {"id": package} for package in ids}
    paths.write(os.path.join(paths.MESOSPHERE, "active.buildinfo.full.json.new"), json.dumps(info, indent=2) + "\n")


def _text_of(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def _swap():
    for name in (*TREES, "active", *FILES):
        path = os.path.join(paths.MESOSPHERE, name)
        old = f"{path}.old"
        if os.path.isdir(old) and not os.path.islink(old):
            shutil.rmtree(old)
        elif os.path.lexists(old):
            os.unlink(old)
        if os.path.lexists(path):
            os.rename(path, old)
        os.rename(f"{path}.new", path)


def _write_units(units):
    for name in wanted_units():
        for path in (os.path.join(WANTS, name), os.path.join(paths.UNITS, name)):
            if os.path.lexists(path):
                os.unlink(path)
    os.makedirs(WANTS, exist_ok=True)
    for name, source in units.items():
        shutil.copyfile(source, os.path.join(paths.UNITS, name))
        os.symlink(os.path.join(paths.UNITS, name), os.path.join(WANTS, name))
    paths.write(TARGET, "[Install]\nWantedBy=multi-user.target\n")


def wanted_units():
    return sorted(os.listdir(WANTS)) if os.path.isdir(WANTS) else []


def activate(ids, block):
    """Stops what runs, swaps the trees, installs the units and starts `dcos.target`."""
    trees, units = _collect(ids, identity.role())
    running = wanted_units()
    _write_new(ids, trees)
    if running:
        systemctl("stop", "--", "dcos.target", *running)
    _swap()
    _write_units(units)
    systemctl("daemon-reload")
    systemctl("enable", "--quiet", "dcos.target")
    systemctl("start", "dcos.target", *(() if block else ("--no-block",)))


def setup(block):
    """The first activation; a node that has left its bootstrap state is left alone."""
    if not os.path.exists(MARKER):
        print("Already set up: nothing to do")
        return
    repository = repository_url()
    ids = package_ids(repository)
    fetch(repository, ids)
    _make_users()
    activate(ids, block)
    os.unlink(MARKER)


def _make_users():
    lines = "".join(f'u {name} - "DC/OS {name}"\n' for name in USERS)
    done = subprocess.run(["systemd-sysusers", "-"], input=lines, text=True, check=False)
    if done.returncode:
        raise PkgpandaError(f"systemd-sysusers failed with {done.returncode}")


def uninstall():
    running = wanted_units()
    if running:
        systemctl("stop", "--", "dcos.target", *running, check=False)
    systemctl("disable", "--quiet", "dcos.target", "dcos-setup.service", check=False)
    for name in running:
        os.unlink(os.path.join(paths.UNITS, name))
    shutil.rmtree(WANTS, ignore_errors=True)
    if os.path.exists(TARGET):
        os.unlink(TARGET)
    systemctl("daemon-reload")
    shutil.rmtree(paths.MESOSPHERE, ignore_errors=True)


def _parser():
    parser = argparse.ArgumentParser(prog="pkgpanda")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, takes_ids, options in (
        ("setup", False, ("--no-block-systemd",)), ("fetch", True, ("--repository-url",)),
        ("activate", True, ("--no-block-systemd", "--no-block")), ("active", False, ()), ("list", False, ()),
        ("uninstall", False, ()),
    ):
        command = commands.add_parser(name)
        if takes_ids:
            command.add_argument("ids", nargs="+")
        for option in options:
            command.add_argument(option, **({} if option == "--repository-url" else {"action": "store_true"}))
    return parser


def main(arguments):
    given = _parser().parse_args(arguments)
    try:
        if given.command == "setup":
            setup(block=not given.no_block_systemd)
        elif given.command == "fetch":
            fetch((given.repository_url or repository_url()).rstrip("/"), given.ids)
        elif given.command == "activate":
            activate(sorted(given.ids), block=not (given.no_block_systemd or given.no_block))
        elif given.command == "active":
            print("\n".join(active_ids()))
        elif given.command == "list":
            print("\n".join(sorted(n for n in os.listdir(PACKAGES) if not n.startswith("."))))
        else:
            uninstall()
    except PkgpandaError as problem:
        print(f"pkgpanda: {problem}", file=sys.stderr)
        return 1
    return 0
