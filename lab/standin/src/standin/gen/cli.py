"""The command line of `dcos_generate_config.sh`: flags by version, exit codes, and the wrapper's side effects."""

import argparse
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile

from . import yaml_subset
from .config import ConfigErrors, resolve, script_reader, to_text
from .genconf import generate, identity_of
from ..node import knobs as knob_file

DOCKER_FAILED = 125


def _parser(release):
    parser = argparse.ArgumentParser(
        prog="dcos_generate_config.sh", description=f"Installs DC/OS {release} (stand-in for lab hosts)."
    )
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("-p", "--port", type=int, default=9000)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--genconf", action="store_true")
    mode.add_argument("--version", action="store_true")
    mode.add_argument("--hash-password", nargs="?", const="", metavar="PASSWORD")
    mode.add_argument("--aws-cloudformation", action="store_true")
    mode.add_argument("--web", action="store_true")
    if release.since(1, 9):
        mode.add_argument("--generate-node-upgrade-script", nargs="?", const="", metavar="INSTALLED_VERSION")
    if release.has_ssh_installer:
        mode.add_argument("--set-superuser-password", nargs="?", const="", metavar="PASSWORD")
        mode.add_argument("--validate-config", action="store_true")
        for name in ("--preflight", "--install-prereqs", "--deploy", "--postflight"):
            mode.add_argument(name, action="store_true")
    return parser


def read_config(directory):
    """The user's arguments; `SystemExit` with status 1 when the file is missing or no map."""
    path = os.path.join(directory, "genconf", "config.yaml")
    try:
        with open(path, encoding="utf-8") as stream:
            value = yaml_subset.load(stream.read())
    except FileNotFoundError:
        return _stop("genconf/config.yaml: the file does not exist, nothing can be generated")
    except yaml_subset.YamlError as problem:
        return _stop(f"genconf/config.yaml: {problem}")
    if not isinstance(value, dict):
        return _stop("genconf/config.yaml: must be a map of keys to values")
    return {key: to_text(item) for key, item in value.items()}


def _stop(text):
    print(text, file=sys.stderr)
    raise SystemExit(1)


def _show(errors):
    print("====> Configuration errors:", file=sys.stderr)
    for key, message in errors:
        print(f"{key}: {message}", file=sys.stderr)


def _validated(directory, release):
    try:
        resolve(read_config(directory), release, script_reader(directory))
    except ConfigErrors as found:
        _show(found.errors)
        return 1
    return 0


def _genconf(directory, release, knobs, upgrade_from):
    print("====> EXECUTING CONFIGURATION GENERATION", flush=True)
    given = read_config(directory)
    if knobs.fail.get("tls_bootstrap_fails"):
        # The real wrapper loses the status here, so callers have to look for the output.
        print("Exhibitor TLS bootstrap failed: the CA could not be initialized", file=sys.stderr)
        return 0
    try:
        url = generate(directory, release, given, upgrade_from)
    except ConfigErrors as found:
        _show(found.errors)
        return 1
    if url is not None:
        print(f"Node upgrade script URL: {url}")
    return 0


def _hashed(password):
    salt = secrets.token_hex(8)
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", salt, "-stdin"], input=password, text=True, stdout=subprocess.PIPE, check=False
    ) if shutil.which("openssl") else None
    if done and done.returncode == 0:
        return done.stdout.strip()
    try:
        import crypt
    except ImportError:
        _stop("hashing needs `openssl` or Python's crypt")
    return crypt.crypt(password, f"$6${salt}$")


def _password(given):
    return given or sys.stdin.readline().rstrip("\n")


def _set_superuser(directory, password):
    path = os.path.join(directory, "genconf", "config.yaml")
    read_config(directory)
    with open(path, encoding="utf-8") as stream:
        lines = [line for line in stream.read().splitlines() if not line.startswith("superuser_password_hash:")]
    lines.append(f"superuser_password_hash: '{_hashed(password)}'")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    return 0


# What the wrapper around the real container does first


def _require_docker(knobs):
    if not knobs["require_docker"]:
        return
    try:
        done = subprocess.run(["docker", "version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            return
    except FileNotFoundError:
        pass
    _stop("docker should be installed and running. Aborting.")


def _extract_image(directory, release):
    commit = identity_of(release)
    name = f"dcos-genconf.{commit[:18]}-{hashlib.sha1(commit.encode()).hexdigest()[:18]}"
    path = os.path.join(directory, f"{name}.tar")
    if not os.path.exists(path):
        note = "Extracting image from this script and loading into docker daemon, this step can take a few minutes"
        print(note, file=sys.stderr if release.since(1, 10) else sys.stdout, flush=True)
        with tarfile.open(path, "w") as archive:
            entry = tarfile.TarInfo("repositories")
            text = json.dumps({"mesosphere/dcos-genconf": {name[len("dcos-genconf."):]: commit}}).encode()
            entry.size = len(text)
            import io

            archive.addfile(entry, io.BytesIO(text))
    os.makedirs(os.path.join(directory, "genconf", "state"), exist_ok=True)
    return name


def _publish_port(release):
    """The real container publishes a port nobody needs, and fails to start when it is taken."""
    if not release.publishes_installer_port:
        return
    port = int(os.environ.get("PORT") or 9000)
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("0.0.0.0", port))
    except OSError:
        print(f"docker: Error response from daemon: driver failed programming external connectivity: "
              f"Bind for 0.0.0.0:{port} failed: port is already allocated.", file=sys.stderr)
        raise SystemExit(DOCKER_FAILED)
    finally:
        probe.close()


def main(arguments, release, directory):
    """Runs one invocation; returns the exit code."""
    knobs = knob_file.load()
    _require_docker(knobs)
    _extract_image(directory, release)
    _publish_port(release)
    given = _parser(release).parse_args(arguments)
    upgrade_from = getattr(given, "generate_node_upgrade_script", None)
    if given.version:
        print(json.dumps({"variant": "open", "version": release.text}, indent=2))
        return 0
    if given.hash_password is not None:
        print("====> HASHING PASSWORD TO SHA512")
        print(_hashed(_password(given.hash_password)))
        return 0
    if getattr(given, "set_superuser_password", None) is not None:
        return _set_superuser(directory, _password(given.set_superuser_password))
    if getattr(given, "validate_config", False):
        return _validated(directory, release)
    if given.web:
        if not release.has_web_installer:
            print("The web installer was removed, use --genconf", file=sys.stderr)
            return 1
        print("the web installer is not emulated", file=sys.stderr)
        return 1
    for name in ("preflight", "install_prereqs", "deploy", "postflight", "aws_cloudformation"):
        if getattr(given, name, False):
            print(f"--{name.replace('_', '-')} is not emulated", file=sys.stderr)
            return 1
    if upgrade_from == "":
        print("Must provide the version of the cluster that is upgraded: --generate-node-upgrade-script <version>",
              file=sys.stderr)
        return 1
    return _genconf(directory, release, knobs, upgrade_from)
