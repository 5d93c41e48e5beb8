"""Which behaviour belongs to which emulated DC/OS version.

Owns every version comparison of the stand-in, so that no other file holds a version number.
"""

EMULATED = ("1.9.10", "1.12.3", "2.0.6", "2.2.0")


class Release:
    """One emulated version, with a property per behaviour that changed between versions."""

    def __init__(self, text):
        self.text = text
        self.number = tuple(int(part) for part in text.split("."))

    def __str__(self):
        return self.text

    def since(self, *number):
        return self.number >= number

    def before(self, *number):
        return self.number < number

    @property
    def has_package_lists(self):
        """Package list by id (1.10); before, `cluster-packages.json` lists the packages."""
        return self.since(1, 10)

    @property
    def has_ssh_installer(self):
        return self.before(2, 0)

    @property
    def has_web_installer(self):
        return self.before(1, 12)

    @property
    def has_variant_in_version_file(self):
        return self.since(1, 12)

    @property
    def publishes_installer_port(self):
        """Genconf container publishes `${PORT:-9000}` and so collides with a server there."""
        return self.before(2, 0)

    @property
    def needs_nogroup(self):
        return self.before(2, 0)

    @property
    def needs_ifconfig(self):
        return self.number[:2] == (1, 12)

    @property
    def needs_docker_info(self):
        return self.since(1, 12, 3)

    @property
    def accepts_enforcing_selinux(self):
        return self.since(1, 12)

    @property
    def checks_xfs_ftype(self):
        return self.since(1, 12)

    @property
    def warns_about_raid_modules(self):
        return self.since(1, 13)

    @property
    def exhibitor_refuses_unlisted_address(self):
        return self.since(1, 12)

    @property
    def bootstrap_waits_for_all_masters(self):
        """Before 2.1.2 every master must serve before Mesos starts; later the local mode is enough."""
        return self.before(2, 1, 2)

    @property
    def has_check_runner(self):
        return self.since(1, 12)

    @property
    def has_history(self):
        return self.before(2, 1)
