"""The text of `dcos_node_upgrade.sh`, with the control flow (and the defects) of its version."""

import shlex

from .packages import source_text
from .scripts import fill, flag, package_flags


def script(args, release, everything, upgrade_from):
    """Renders the upgrade script from version `upgrade_from` to `release` with the packages `everything`."""
    values = {
        "installed_version": shlex.quote(upgrade_from),
        "version": release.text,
        "repository_url": shlex.quote(args["bootstrap_url"]),
        "ensemble": shlex.quote(args.get("exhibitor_static_ensemble", "")),
        "strict_arguments": flag(release.since(1, 13)),
        "checks_work": flag(release.since(1, 10) and release.before(1, 12)),
        "waits_for_exhibitor": flag(release.before(1, 10)),
        "block": flag(release.since(2, 2)),
        "packages": " ".join(p.id for p in everything),
        "package_flags": package_flags(release, everything),
    }
    return fill(source_text("gen", "templates", "dcos_node_upgrade.sh"), values)
