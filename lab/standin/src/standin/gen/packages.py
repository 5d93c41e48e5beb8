"""What is in each package: the runtime, the tools, the units, and the generated configuration."""

import importlib.resources
import json

from . import units
from .tarballs import EXECUTABLE, PRIVATE, File, digest

RUNTIME_ENTRY = """#!/usr/bin/python3 -IS
import os
import sys

home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(home, "lib"))

from standin.node.main import main

sys.exit(main(sys.argv[1:]))
"""


class Package:
    """Name, id and files of one package; the id is given for generated ones and hashed for the rest."""

    def __init__(self, name, files, package_id=None):
        self.name = name
        self.files = files
        self.id = package_id or f"{name}--{digest(files)}"

    @property
    def filename(self):
        return f"packages/{self.name}/{self.id}.tar.xz"


def source_text(*parts):
    """Text of a file of this program, which may be running from inside an archive."""
    place = importlib.resources.files("standin")
    for part in parts:
        place = place / part
    return place.read_text(encoding="utf-8")


def _runtime():
    files = {"bin/standin": File(RUNTIME_ENTRY, EXECUTABLE)}
    for name in ("__init__.py", "release.py"):
        files[f"lib/standin/{name}"] = File(source_text(name))
    for entry in sorted(importlib.resources.files("standin").joinpath("node").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".py"):
            files[f"lib/standin/node/{entry.name}"] = File(entry.read_text(encoding="utf-8"))
    return Package("standin", files)


def _call(words):
    return File(f'#!/bin/sh\nexec /opt/mesosphere/active/standin/bin/standin {words} "$@"\n', EXECUTABLE)


def _tools(release):
    files = {
        "bin/pkgpanda": _call("pkgpanda"),
        "bin/dcos-zk": _call("zk"),
        "bin/dcos-shell": File('#!/bin/sh\nset -a\n. /opt/mesosphere/environment.export\nset +a\nexec "$@"\n', EXECUTABLE),
        "bin/add_dcos_path.sh": File("PATH=\"$PATH:/opt/mesosphere/bin\"\nexport PATH\n", EXECUTABLE),
        "bin/bootstrap": File(source_text("gen", "templates", "bootstrap.sh").replace(
            "@all_masters@", "1" if release.bootstrap_waits_for_all_masters else "0"), EXECUTABLE),
        "bin/mesos-master": File("#!/bin/sh\necho 'mesos 1.11.0'\n", EXECUTABLE),
        "bin/mesos-agent": File("#!/bin/sh\necho 'mesos 1.11.0'\n", EXECUTABLE),
        "bin/iam-database-backup": File("#!/bin/sh\necho '-- stand-in: no identities are stored'\n", EXECUTABLE),
    }
    if release.has_check_runner:
        files["bin/dcos-check-runner"] = _call("check-runner")
    if release.since(1, 10):
        files["bin/dcos-diagnostics"] = File(
            '#!/bin/sh\n[ "$1" = check ] || { echo "usage: dcos-diagnostics check <type>" >&2; exit 1; }\n'
            'exec /opt/mesosphere/active/standin/bin/standin check-runner "$@"\n', EXECUTABLE)
    return Package("pkgpanda", files)


def static_packages(release):
    """The packages that only depend on the emulated version."""
    by_name = {}
    for package, roles, unit_files in units.catalogue(release):
        files = by_name.setdefault(package, {"pkginfo.json": File("{}\n")})
        for role in roles:
            for name, text in unit_files.items():
                files[f"dcos.target.wants_{role}/{name}"] = File(text)
    return [_runtime(), _tools(release)] + [Package(name, files) for name, files in sorted(by_name.items())]


def bootstrap_id(release, packages):
    """The id of the minimal tree, from what is in it."""
    return digest({p.id: File(p.id) for p in packages if p.name in ("standin", "pkgpanda")} | {"v": File(release.text)})


def bootstrap_tree(packages):
    """Files and links of the minimal `/opt/mesosphere` that can run `pkgpanda setup`."""
    files, links = {"bootstrap": File("")}, {}
    for package in packages:
        if package.name in ("standin", "pkgpanda"):
            home = f"packages/{package.id}"
            files.update({f"{home}/{path}": file for path, file in package.files.items()})
            links[f"active/{package.name}"] = f"/opt/mesosphere/{home}"
            links.update({f"bin/{path[4:]}": f"/opt/mesosphere/{home}/{path}" for path in package.files if path.startswith("bin/")})
    return files, links


def _environment(pairs):
    return File("".join(f"{key}={value}\n" for key, value in pairs))


def _exhibitor(args):
    backend = args["exhibitor_storage_backend"]
    if backend == "static":
        return [("EXHIBITOR_BACKEND", "STATIC"), ("EXHIBITOR_STATICENSEMBLE", args["exhibitor_static_ensemble"])]
    if backend == "aws_s3":
        return [("EXHIBITOR_BACKEND", "AWS_S3"), ("AWS_REGION", args["aws_region"]),
                ("AWS_S3_BUCKET", args["s3_bucket"]), ("AWS_S3_PREFIX", args["s3_prefix"])]
    if backend == "zookeeper":
        return [("EXHIBITOR_BACKEND", "ZK"), ("ZK_CONFIG_CONNECT", args["exhibitor_zk_hosts"]),
                ("ZK_CONFIG_ZPATH", args["exhibitor_zk_path"])]
    if backend == "azure":
        return [("EXHIBITOR_BACKEND", "AZURE"), ("AZURE_PREFIX", args["exhibitor_azure_prefix"])]
    return [("EXHIBITOR_BACKEND", "SHARED_FS"), ("EXHIBITOR_FSCONFIGDIR", args["exhibitor_fs_config_dir"])]


def _dns(args):
    pairs = [("MASTER_SOURCE", "master_list")]
    if args["master_discovery"] == "master_http_loadbalancer":
        address = args["exhibitor_address"]
        pairs = [("MASTER_SOURCE", "exhibitor_uri"), ("EXHIBITOR_ADDRESS", address),
                 ("EXHIBITOR_URI", f"http://{address}:8181/exhibitor/v1/cluster/status")]
    return pairs + [("RESOLVERS", ",".join(json.loads(args["resolvers"])))]


def config_package(args, given, config_id):
    """`dcos-config--setup_<id>`: the files of the reference's 4.4."""
    from .config import SECRETS

    count = int(args["num_masters"])
    shown = {key: "**HIDDEN**" if key in SECRETS and value else value for key, value in args.items()}
    user = {key: shown.get(key, value) for key, value in given.items()}
    hosts = ",".join(f"zk-{n}.zk:2181" for n in range(1, count + 1))
    master = [("MESOS_QUORUM", args["master_quorum"]), ("MESOS_ZK", f"zk://{hosts}/mesos"),
              ("MESOS_WORK_DIR", args["mesos_master_work_dir"]), ("MESOS_CLUSTER", args["cluster_name"])]
    agent = [("MESOS_MASTER", f"zk://{hosts}/mesos"), ("MESOS_WORK_DIR", args["mesos_agent_work_dir"])]
    files = {
        "etc/user.config.yaml": File("".join(f"{key}: {json.dumps(user[key])}\n" for key in sorted(user))),
        "etc/user.config.full.yaml": File("".join(f"{k}: {json.dumps(given[k])}\n" for k in sorted(given)), PRIVATE),
        "etc/expanded.config.json": File(json.dumps(shown, indent=2, sort_keys=True) + "\n"),
        "etc/expanded.config.full.json": File(json.dumps(args, indent=2, sort_keys=True) + "\n", PRIVATE),
        "etc/exhibitor": _environment(_exhibitor(args)),
        "etc/dns_config": _environment(_dns(args)),
        "etc/master_list": File(args.get("master_list") or "[]"),
        "etc_master/master_count": File(f"{count}\n"),
        "etc_master/mesos-master": _environment(master),
        "etc_master/dns_config_master": _environment(_dns(args)),
        "etc_slave/mesos-slave": _environment(agent),
        "etc_slave_public/mesos-slave-public": _environment(agent + [("MESOS_DEFAULT_ROLE", "slave_public")]),
        "bin/detect_ip": File(args["ip_detect_contents"], EXECUTABLE),
        "bin/detect_ip_public": File(args["ip_detect_public_contents"], EXECUTABLE),
    }
    if args.get("fault_domain_detect_contents"):
        files["bin/detect_fault_domain"] = File(args["fault_domain_detect_contents"], EXECUTABLE)
    if args.get("exhibitor_explicit_keys") == "true":
        files["etc/exhibitor.properties"] = File(
            f"com.netflix.exhibitor.s3.access-key-id={args['aws_access_key_id']}\n"
            f"com.netflix.exhibitor.s3.access-secret-key={args['aws_secret_access_key']}\n", PRIVATE)
    return Package("dcos-config", files, f"dcos-config--setup_{config_id}")


def metadata_package(release, commit, boot_id, config_id):
    version = {"version": release.text, "dcos-image-commit": commit, "bootstrap-id": boot_id}
    if release.has_variant_in_version_file:
        version["dcos-variant"] = "open"
    files = {
        "etc/dcos-version.json": File(json.dumps(version, indent=2) + "\n"),
        "etc/bootstrap-id": File(boot_id + "\n"),
    }
    return Package("dcos-metadata", files, f"dcos-metadata--setup_{config_id}")
