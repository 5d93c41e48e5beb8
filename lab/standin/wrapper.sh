#!/bin/bash
# DC/OS @version@ installer, stand-in for lab hosts. The program behind the last line is an archive Python can run.
set -o errexit -o nounset -o pipefail
command -v python3 >/dev/null || { echo "python3 is needed on this host" >&2; exit 1; }
STANDIN_VERSION=@version@ exec python3 -E -s "$0" "$@"
#EOF#
