#!/bin/bash
# Boots the lab and provisions DC/OS on it. `make demo` has built ./dcos-play before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

inventory=inventory/lab.yml
can_be_root || die "the lab's hosts need root: run \`make demo\` as root, or install sudo"
sudo=
is_root || sudo="sudo "

as_root ./dcos-play lab up -i "$inventory"
status=0
as_root ./dcos-play run playbooks/provision.yml -i "$inventory" || status=$?

say ""
if ((status)); then
    say "The cluster isn't ready (exit status $status). What happened stands above, and host by host in:"
    say "  .dcos-play/runs/latest/hosts/"
    say "After a fix, the same again goes on with what is missing:"
    say "  make demo"
else
    say "The cluster serves. What to look at next:"
    say "  .dcos-play/runs/latest/report.html                       # the whole run, in a browser"
    say "  ls .dcos-play/runs/latest/hosts/                         # one log a host, with times and places in the roles"
    say "  ${sudo}./dcos-play lab status"
    say "  ${sudo}./dcos-play lab ssh master1                             # look around as root"
    say "  ${sudo}./dcos-play lab exec master1 curl -s localhost:8181/exhibitor/v1/cluster/status"
    say "  make demo                                                # again: changes nothing, reboots nobody"
fi
say "To stop the lab:"
say "  make lab-down"
exit "$status"
