"""From `config.yaml` to resolved arguments: conversions, defaults, validation, derived values."""

import json
import os
import re

from ..node.ensemble import byte_sorted, ensemble_string
from ..node.identity import is_ipv4

BACKENDS = ("static", "aws_s3", "zookeeper", "azure", "shared_filesystem")
DISCOVERIES = ("static", "master_http_loadbalancer")
MASTER_COUNTS = ("1", "3", "5", "7", "9")
ALWAYS = ("bootstrap_url", "cluster_name", "exhibitor_storage_backend", "master_discovery")
BY_BACKEND = {
    "aws_s3": ("aws_region", "s3_bucket", "s3_prefix", "exhibitor_explicit_keys"),
    "zookeeper": ("exhibitor_zk_hosts", "exhibitor_zk_path"),
    "azure": ("exhibitor_azure_account_name", "exhibitor_azure_account_key", "exhibitor_azure_prefix"),
    "shared_filesystem": ("exhibitor_fs_config_dir",),
}
BY_DISCOVERY = {"static": ("master_list",), "master_http_loadbalancer": ("num_masters", "exhibitor_address")}

DEFAULTS = {
    "aws_secret_access_key": "", "exhibitor_admin_password": "", "exhibitor_tls_enabled": "false",
    "exhibitor_tls_required": "false", "exhibitor_bootstrap_ca_url": "", "resolvers": '["8.8.8.8", "8.8.4.4"]',
    "dns_search": "", "ip_detect_filename": "genconf/ip-detect", "ip_detect_public_filename": "",
    "check_time": "true", "telemetry_enabled": "true", "oauth_enabled": "true", "superuser_service_account_uid": "",
    "superuser_service_account_public_key": "", "customer_key": "", "master_external_loadbalancer": "",
    "master_dns_bindall": "true", "enable_docker_gc": "true", "docker_remove_delay": "1hrs",
    "docker_stop_timeout": "20secs", "gc_delay": "2days", "cluster_docker_credentials": "{}",
    "cluster_docker_credentials_write_to_etc": "false", "cluster_docker_registry_url": "", "rexray_config_preset": "",
    "dcos_overlay_enable": "true", "enable_ipv6": "true", "use_proxy": "false", "custom_checks": "{}",
    "platform": "onprem", "mesos_agent_work_dir": "/var/lib/mesos/slave",
    "mesos_master_work_dir": "/var/lib/dcos/mesos/master",
    "dcos_overlay_network": '{"vtep_subnet": "44.128.0.0/20", "overlays": '
                            '[{"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 26}]}',
}
BOOLEANS = (
    "exhibitor_explicit_keys", "exhibitor_tls_enabled", "exhibitor_tls_required", "check_time", "telemetry_enabled",
    "oauth_enabled", "master_dns_bindall", "enable_docker_gc", "cluster_docker_credentials_write_to_etc",
    "dcos_overlay_enable", "enable_ipv6", "use_proxy",
)
SECRETS = ("exhibitor_admin_password", "aws_secret_access_key", "superuser_password_hash",
           "exhibitor_azure_account_key", "cluster_docker_credentials")


class ConfigErrors(Exception):
    """Every error of one configuration, as `(key, message)` pairs in key order."""

    def __init__(self, errors):
        super().__init__(f"{len(errors)} configuration errors")
        self.errors = sorted(errors)


def to_text(value):
    """Converts one YAML value the way the generator hands it to its templates."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    return "" if value is None else str(value)


def validate(given):
    """Raises `ConfigErrors` with everything that is wrong with the user's (text) arguments."""
    args = {**DEFAULTS, **given}
    errors = []

    def wrong(key, message):
        errors.append((key, message))

    def need(keys):
        for key in keys:
            if not args.get(key):
                wrong(key, f"Must set {key}, no way to calculate value.")

    need(ALWAYS)
    backend, discovery = args.get("exhibitor_storage_backend"), args.get("master_discovery")
    if backend and backend not in BACKENDS:
        wrong("exhibitor_storage_backend", f"Must be one of {', '.join(BACKENDS)}. Got '{backend}'.")
    if discovery and discovery not in DISCOVERIES:
        wrong("master_discovery", f"Must be one of {', '.join(DISCOVERIES)}. Got '{discovery}'.")
    if backend == "static" and discovery == "master_http_loadbalancer":
        wrong("master_discovery", "`master_http_loadbalancer` cannot be used with the exhibitor storage backend `static`.")
    need(BY_BACKEND.get(backend, ()))
    need(BY_DISCOVERY.get(discovery, ()))
    if args.get("exhibitor_explicit_keys") == "true":
        need(("aws_access_key_id", "aws_secret_access_key"))
    _check_masters(args, discovery, wrong)
    _check_texts(args, wrong)
    _check_resolvers(args, wrong)
    for key in BOOLEANS:
        if key in args and args[key] not in ("true", "false"):
            wrong(key, f"Must be one of 'true', 'false'. Got '{args[key]}'.")
    account = ("superuser_service_account_uid", "superuser_service_account_public_key")
    if bool(args[account[0]]) != bool(args[account[1]]):
        wrong(account[0], f"Must be set together with {account[1]}, or neither.")
    if errors:
        raise ConfigErrors(errors)


def _check_masters(args, discovery, wrong):
    if discovery == "static":
        if args.get("num_masters"):
            wrong("num_masters", "Must not be set when master_discovery is `static`: it is calculated from master_list.")
        if args.get("master_list"):
            _check_master_list(args["master_list"], wrong)
    elif args.get("num_masters") and args["num_masters"] not in MASTER_COUNTS:
        wrong("num_masters", f"Must have 1, 3, 5, 7, or 9 masters. Found {args['num_masters']}.")


def _check_master_list(text, wrong):
    try:
        masters = json.loads(text)
    except ValueError:
        masters = None
    if not isinstance(masters, list) or not masters:
        return wrong("master_list", f"Must be a list of IPv4 addresses. Got '{text}'.")
    masters = [str(m) for m in masters]
    invalid = [m for m in masters if not is_ipv4(m)]
    if invalid:
        wrong("master_list", f"Invalid IPv4 addresses in list: {', '.join(invalid)}")
    if len(set(masters)) != len(masters):
        twice = sorted({m for m in masters if masters.count(m) > 1})
        wrong("master_list", f"List cannot contain duplicates: {', '.join(twice)}")
    if str(len(masters)) not in MASTER_COUNTS:
        wrong("master_list", f"Must have 1, 3, 5, 7, or 9 masters. Found {len(masters)}.")


def _check_texts(args, wrong):
    for key, slash_rule in (("bootstrap_url", "Must not end in a '/'"), ("s3_prefix", "Must be a file path and cannot end in a /")):
        if (args.get(key) or "").endswith("/"):
            wrong(key, slash_rule)
    url = args.get("bootstrap_url")
    if url and not re.match(r"^(https?|file)://", url):
        wrong("bootstrap_url", "Must start with http://, https:// or file://")
    path = args.get("exhibitor_zk_path")
    if path and not path.startswith("/"):
        wrong("exhibitor_zk_path", "Must be of the form /path/to/znode")
    if (args.get("exhibitor_zk_hosts") or "").startswith("zk://"):
        wrong("exhibitor_zk_hosts", "Must be of the form host:port,host:port, without zk://")
    for key in ("mesos_agent_work_dir", "mesos_master_work_dir"):
        if not args[key].startswith("/"):
            wrong(key, "Must be an absolute filesystem path starting with /")
    search = args["dns_search"]
    if "," in search:
        wrong("dns_search", "Commas are not allowed: separate domains by spaces")
    if len(search) > 255 or len(search.split()) > 6:
        wrong("dns_search", "Must be at most 255 characters and 6 domains")
    if args.get("rexray_config") and args["rexray_config_preset"]:
        wrong("rexray_config_preset", "Cannot be set together with rexray_config")


def _check_resolvers(args, wrong):
    try:
        resolvers = json.loads(args["resolvers"])
    except ValueError:
        resolvers = None
    if not isinstance(resolvers, list):
        return wrong("resolvers", f"Must be a list of addresses. Got '{args['resolvers']}'.")
    if len(resolvers) > 3:
        wrong("resolvers", f"Must not have more than 3 resolvers. Found {len(resolvers)}.")
    for entry in map(str, resolvers):
        address, _, port = entry.partition(":")
        if not is_ipv4(address) or (port and not port.isdigit()):
            wrong("resolvers", f"Invalid resolver: {entry}")
        elif address in ("198.51.100.1", "198.51.100.2", "198.51.100.3"):
            wrong("resolvers", f"{address} is used by DC/OS itself")


def resolve(given, release, read_script):
    """All arguments with defaults and derived values; `read_script(name)` gives a detection script or None.

    Validates first. Raises `ConfigErrors`, also for a missing detection script.
    """
    given = {key: to_text(value) for key, value in given.items()}
    errors = []
    try:
        validate(given)
    except ConfigErrors as found:
        errors = found.errors
    args = {**DEFAULTS, **given}
    for key, name in (("ip_detect_contents", args["ip_detect_filename"]),
                      ("ip_detect_public_contents", args["ip_detect_public_filename"] or args["ip_detect_filename"])):
        if not args.get(key):
            contents = read_script(name)
            if contents is None:
                errors.append((key.replace("_contents", "_filename"), f"{name} does not exist"))
            args[key] = contents or ""
    if errors:
        raise ConfigErrors(errors)
    masters = [str(m) for m in json.loads(args.get("master_list") or "[]")]
    args["num_masters"] = args.get("num_masters") or str(len(masters))
    args["master_quorum"] = str(int(args["num_masters"]) // 2 + 1)
    if args["exhibitor_storage_backend"] == "static":
        args["master_list"] = json.dumps(byte_sorted(masters))
        args["exhibitor_static_ensemble"] = ensemble_string(masters)
    args["dcos_version"] = release.text
    return args


def script_reader(directory):
    """Reads detection scripts relative to the installer's working directory."""

    def read(name):
        try:
            with open(os.path.join(directory, name), encoding="utf-8") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    return read
