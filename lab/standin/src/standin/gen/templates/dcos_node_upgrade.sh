#!/bin/bash
# DC/OS node upgrade @installed_version@ -> @version@, stand-in for lab hosts.
set -u -o pipefail

installed_version=@installed_version@
version=@version@
repository_url=@repository_url@
ensemble=@ensemble@
strict_arguments=@strict_arguments@
checks_work=@checks_work@
waits_for_exhibitor=@waits_for_exhibitor@
block=@block@
packages=(@packages@)
mesosphere=/opt/mesosphere
skip_checks=0

fail() { echo "$*" >&2; exit 1; }

if (( strict_arguments )); then
    while (( $# )); do
        case "$1" in
            --skip-checks) skip_checks=1; shift ;;
            -v | --verbose) shift ;;
            -*) fail "Unknown option: $1" ;;
            # The real loop does not step over such a word and never ends. Here it sleeps instead of spinning.
            *) sleep 3600 ;;
        esac
    done
else
    for word in "$@"; do [[ "$word" == --skip-checks ]] && skip_checks=1; done
fi

(( EUID == 0 )) || fail "dcos_node_upgrade.sh must be run as root"
[[ -r $mesosphere/etc/dcos-version.json ]] || fail "no DC/OS is installed here"
found=$(sed -n 's/.*"version": *"\([^"]*\)".*/\1/p' $mesosphere/etc/dcos-version.json | head -n 1)
[[ "$found" == "$installed_version" ]] \
    || fail "this script upgrades DC/OS $installed_version, but version $found is installed"
roles=()
for role in master slave slave_public; do
    [[ -e /etc/mesosphere/roles/$role ]] && roles+=("$role")
done
(( ${#roles[@]} == 1 )) || fail "a node must have exactly one role, found: ${roles[*]:-none}"
role=${roles[0]}

if (( checks_work && ! skip_checks )); then
    for kind in node-poststart cluster; do
        $mesosphere/bin/dcos-diagnostics check $kind || fail "check $kind failed, the node is left as it is"
    done
fi

$mesosphere/active/standin/bin/standin upgrade-gates "$ensemble" || exit 1

echo "Upgrading DC/OS $role $installed_version -> $version"
printf '%s\n' "$repository_url" >/etc/mesosphere/setup-flags/repository-url
@package_flags@
$mesosphere/bin/pkgpanda fetch --repository-url="$repository_url" "${packages[@]}" || exit 1
options=()
(( block )) || options=(--no-block)
$mesosphere/bin/pkgpanda activate "${options[@]}" "${packages[@]}" || exit 1

if (( waits_for_exhibitor )) && [[ "$role" == master ]]; then
    until curl -fsS -o /dev/null --max-time 2 http://127.0.0.1:8181/exhibitor/v1/cluster/status; do
        echo "Waiting for Exhibitor..."
        sleep 10
    done
fi
if (( checks_work )); then
    for (( try = 0; ; try++ )); do
        $mesosphere/bin/dcos-diagnostics check node-poststart && break
        (( try < 300 )) || fail "the node is not healthy after its upgrade"
        sleep 1
    done
fi
exit 0
