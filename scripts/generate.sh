#!/bin/bash
# Writes the parts of docs that come from the code; with --check, fails when they aren't current.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

check=${1:-}
[[ -z $check || $check == --check ]] || die "generate.sh takes --check or nothing"

# The table of exit statuses: a doc comment and a constant in src/exit.rs make a row.
exit_codes() {
    awk '
        BEGIN { print "| status | name | means |"; print "|---|---|---|" }
        /^\/\/\/ / { text = text (text == "" ? "" : " ") substr($0, 5); next }
        /^pub const / {
            name = $3; sub(/:.*/, "", name)
            value = $0; sub(/.*= */, "", value); sub(/;.*/, "", value)
            sub(/\.$/, "", text)
            printf "| %s | `%s` | %s |\n", value, name, text
        }
        { text = "" }
    ' src/exit.rs
}

# between FILE TEXT: FILE with TEXT between its two marks.
between() {
    TEXT=$2 awk '
        /^<!-- generated: / { print; print ENVIRON["TEXT"]; inside = 1 }
        /^<!-- end -->$/ { inside = 0 }
        !inside && !/^<!-- generated: / { print }
    ' "$1"
}

fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
file=docs/exit-codes.md
between "$file" "$(exit_codes)" >"$fresh"
if [[ -n $check ]]; then
    diff -u "$file" "$fresh" || die "$file isn't what src/exit.rs says: make generate"
else
    cat "$fresh" >"$file"
fi

# What of Ansible's language is known: a test makes the page and compares it.
if [[ -z $check ]]; then
    UPDATE_EXPECT=1 cargo test --locked --quiet --test language_list
fi
