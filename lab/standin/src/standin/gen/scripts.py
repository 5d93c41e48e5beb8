"""Bash made from templates: what the node installer and the upgrade script share, and the installer itself."""

import hashlib
import json
import shlex

from .packages import source_text

FLAGS = "/etc/mesosphere/setup-flags"


def flag(value):
    return "1" if value else "0"


def fill(text, values):
    """Replaces each `@name@`."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def here_document(path, text, mode=None):
    lines = [f"cat >{path} <<'TEXT'", text, "TEXT"]
    if mode:
        lines.append(f"chmod {mode} {path}")
    return "\n".join(lines)


def table(everything):
    return {p.name: {"id": p.id, "filename": p.filename} for p in everything}


def list_id(everything):
    return hashlib.sha1(json.dumps([p.id for p in everything]).encode()).hexdigest()


def package_flags(release, everything):
    """Lines that tell a node which packages its configuration consists of."""
    if release.has_package_lists:
        return f"printf '%s\\n' {list_id(everything)} >{FLAGS}/cluster-package-list"
    return here_document(f"{FLAGS}/cluster-packages.json", json.dumps(table(everything), sort_keys=True))


def install_script(args, release, everything, boot_id, config_id):
    """The text of `dcos_install.sh`."""
    credentials = ""
    if args["cluster_docker_credentials"] != "{}" and args["cluster_docker_credentials_write_to_etc"] == "true":
        credentials = here_document("/etc/mesosphere/docker_credentials", args["cluster_docker_credentials"], "0600")
    values = {
        "version": release.text,
        "config_id": config_id,
        "bootstrap_id": boot_id,
        "repository_url": shlex.quote(args["bootstrap_url"]),
        "package_flags": package_flags(release, everything),
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
    return fill(source_text("gen", "templates", "dcos_install.sh"), values)
