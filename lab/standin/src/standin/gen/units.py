"""The systemd units of each role and version, and the package that brings each of them."""

RUNTIME = "/opt/mesosphere/active/standin/bin/standin"
BOOTSTRAP = "/opt/mesosphere/bin/bootstrap"

MASTER, AGENT, PUBLIC = "master", "slave", "slave_public"
ALL, AGENTS = (MASTER, AGENT, PUBLIC), (AGENT, PUBLIC)

SLEEP = "/bin/sleep infinity"


def service(name, command=SLEEP, wait=False, restart=2):
    """A long-running unit; `wait` makes it depend on ZooKeeper as DC/OS does."""
    lines = [
        "[Unit]", f"Description=DC/OS component {name} (stand-in)", "StartLimitIntervalSec=0", "", "[Service]",
        "Type=simple", "Restart=always", f"RestartSec={restart}", "TimeoutStopSec=10", "LimitNOFILE=16384",
        "EnvironmentFile=/opt/mesosphere/environment",
    ]
    if wait:
        lines.append(f"ExecStartPre={BOOTSTRAP} {name}")
    lines.append(f"ExecStart={command}")
    return {f"{name}.service": "\n".join(lines) + "\n"}


def timer(name):
    """A unit that runs now and then; nothing here needs it to do anything."""
    return {
        f"{name}.service": f"[Unit]\nDescription=DC/OS component {name} (stand-in)\n\n"
                           "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        f"{name}.timer": f"[Unit]\nDescription=timer of {name}\n\n[Timer]\nOnBootSec=1min\nOnUnitActiveSec=1h\n",
    }


def socket(name):
    return {f"{name}.socket": f"[Unit]\nDescription=socket of {name}\n\n[Socket]\nListenStream=/run/dcos/{name}.sock\n"}


def catalogue(release):
    """A list of `(package, roles, units)`, where units maps file names to text."""
    diagnostics = "dcos-diagnostics" if release.since(1, 10) else "dcos-3dt"
    front = {**service("dcos-adminrouter", f"{RUNTIME} adminrouter", wait=True)}
    items = [
        ("exhibitor", (MASTER,), service("dcos-exhibitor", f"{RUNTIME} exhibitor", restart=1)),
        ("mesos", (MASTER,), service("dcos-mesos-master", f"{RUNTIME} mesos-master", wait=True)),
        ("mesos", (AGENT,), service("dcos-mesos-slave", f"{RUNTIME} mesos-slave")),
        ("mesos", (PUBLIC,), service("dcos-mesos-slave-public", f"{RUNTIME} mesos-slave")),
        ("marathon", (MASTER,), service("dcos-marathon", f"{RUNTIME} marathon", wait=True)),
        ("adminrouter", (MASTER,), front),
        ("adminrouter", AGENTS, service("dcos-adminrouter-agent", f"{RUNTIME} adminrouter-agent")),
        ("diagnostics", (MASTER,), service(diagnostics, f"{RUNTIME} diagnostics", wait=True)),
        ("diagnostics", AGENTS, service(diagnostics)),
        ("diagnostics", ALL, socket(diagnostics)),
        ("mesos-dns", (MASTER,), service("dcos-mesos-dns")),
        ("metronome", (MASTER,), service("dcos-metronome")),
        ("cosmos", (MASTER,), service("dcos-cosmos")),
        ("dcos-log", (MASTER,), service("dcos-log-master")),
        ("dcos-log", AGENTS, service("dcos-log-agent")),
        ("logrotate", (MASTER,), timer("dcos-logrotate-master")),
        ("logrotate", AGENTS, timer("dcos-logrotate-agent")),
        ("docker-gc", AGENTS, service("dcos-docker-gc")),
        ("rexray", AGENTS, service("dcos-rexray")),
        ("pkgpanda-api", ALL, service("dcos-pkgpanda-api")),
        ("dcos-net", ALL, timer("dcos-gen-resolvconf")),
    ]
    if release.since(1, 11):
        items.append(("dcos-net", ALL, service("dcos-net")))
        items.append(("dcos-net", ALL, service("dcos-net-watchdog")))
        items.append(("dcos-checks", ALL, timer("dcos-checks-poststart")))
    else:
        items += [("dcos-net", ALL, service(name)) for name in ("dcos-spartan", "dcos-spartan-watchdog", "dcos-navstar")]
    if release.since(1, 12):
        items.append(("dcos-checks", ALL, service("dcos-checks-api")))
        items.append(("telegraf", ALL, service("dcos-telegraf")))
    if release.since(1, 13):
        items.append(("fluent-bit", ALL, service("dcos-fluent-bit")))
        items.append(("bouncer", (MASTER,), {**service("dcos-bouncer"), **service("dcos-cockroach")}))
    else:
        items.append(("bouncer", (MASTER,), service("dcos-oauth")))
    if release.has_history:
        items.append(("history", (MASTER,), service("dcos-history")))
    if release.since(2, 1):
        items.append(("etcd", (MASTER,), service("dcos-etcd")))
        items.append(("calico", ALL, service("dcos-calico-felix")))
    return items


def of_role(release, role):
    """Names of every unit a node of this role wants."""
    return sorted(name for _, roles, units in catalogue(release) if role in roles for name in units)
