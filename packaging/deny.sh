#!/usr/bin/env bash
# Checks the dependencies by cargo-deny, with the rules of deny.toml: $1 is the program. Known vulnerabilities are checked where their
# database can be reached, and it is said where they are not.
set -euo pipefail
cd "$(dirname "$0")/.."
deny=$1
database=https://github.com/RustSec/advisory-db

"$deny" --locked check licenses bans sources
if GIT_TERMINAL_PROMPT=0 timeout 30 git ls-remote --quiet --exit-code "$database" HEAD > /dev/null 2>&1; then
    "$deny" --locked check advisories
else
    echo "NOT CHECKED: advisories. $database can't be reached from here" >&2
fi
