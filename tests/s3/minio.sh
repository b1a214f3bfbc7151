#!/bin/sh
# Runs the conformance suite on a real S3 server: the one that the AWS variables name, or else a MinIO that is
# installed into target/minio, started on a free port of the loopback interface, and stopped afterwards.
#
# The arguments are the command that builds and runs the suite. Without any, MinIO is installed, and that is all.
set -eu

VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BIN="$ROOT/target/minio/bin"

say() { echo "make s3: $*" >&2; }

# Whether the variable of that name is set, and not empty.
is_set() { eval "[ -n \"\${$1:-}\" ]"; }

# The first of these variables that is set, if one is.
first_set() {
    for name in "$@"; do
        if is_set "$name"; then
            echo "$name"
            return
        fi
    done
}

run_suite() { "$@" -- ::real every_case_runs_in_every_world_or_says_why_not; }

# Half of a server is not quietly replaced by another one. A region alone names none.
named_by=$(first_set AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN)
if [ -n "$named_by" ]; then
    missing=
    for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION; do
        is_set "$name" || missing="$missing $name"
    done
    if [ -n "$missing" ]; then
        say "$named_by is set, but not:$missing"
        say "set these, too, to test on that server, or unset it to test on MinIO"
        exit 2
    fi
    [ "$#" -gt 0 ] || exit 0
    "$@" --no-run
    say "testing on ${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-AWS, region $AWS_REGION}}"
    run_suite "$@"
    exit
fi

# Where Go is there, it tells which version a program was built from.
is_installed() {
    [ -x "$BIN/minio" ] || return 1
    ! command -v go > /dev/null || go version -m "$BIN/minio" | grep -q "$VERSION"
}

if ! is_installed; then
    if ! command -v go > /dev/null; then
        say "MinIO is built with Go (1.24 or newer), which is not here. Install Go, or set AWS_ENDPOINT_URL_S3,"
        say "AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to test on a server of yours."
        exit 2
    fi
    say "installing MinIO $VERSION into target/minio, once (a few minutes)"
    NEW="$BIN/new.$$"
    trap 'rm -rf "$NEW"' EXIT
    mkdir -p "$NEW"
    # Outside of any Go module, and at a lower priority than what waits for the machine. It is moved into its
    # place, so that nobody meets half of it.
    (cd "$NEW" && GOBIN="$NEW" GOWORK=off nice -n 10 go install "github.com/minio/minio@$VERSION")
    mv -f "$NEW/minio" "$BIN/minio"
    rm -rf "$NEW"
fi
[ "$#" -gt 0 ] || exit 0

"$@" --no-run

DATA=$(mktemp -d)
trap 'rm -rf "$DATA"' EXIT
mkfifo "$DATA/alive"

# Runs MinIO until nobody holds the pipe open any more: until the script ends, whatever ends it. Without the
# caller's environment, which may hold settings or certificates of another MinIO.
serve() {
    trap : HUP TERM
    env -i "PATH=$PATH" "HOME=$DATA" MINIO_ROOT_USER=s3-connector-tests MINIO_ROOT_PASSWORD=s3-connector-secret \
        MINIO_BROWSER=off MINIO_UPDATE=off "$BIN/minio" server --address 127.0.0.1:0 "$DATA/store" \
        > "$DATA/log" 2>&1 &
    server=$!
    cat "$DATA/alive" > /dev/null || true
    kill "$server" 2> /dev/null || true
    wait "$server" || true
    rm -rf "$DATA"
}

serve &
SERVING=$!
exec 9> "$DATA/alive"
stop() {
    exec 9>&-
    wait "$SERVING" || true
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# It takes any free port, and says which one once it is ready.
endpoint() { sed -n 's|^API: *\(http://127.0.0.1:[0-9]*\).*|\1|p' "$DATA/log" 2> /dev/null; }

tries=0
while [ -z "$(endpoint)" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 600 ] || grep -q FATAL "$DATA/log" 2> /dev/null; then
        say "MinIO did not start; it said:"
        cat "$DATA/log" >&2
        exit 1
    fi
    sleep 0.1
done

AWS_ENDPOINT_URL_S3=$(endpoint)
export AWS_ENDPOINT_URL_S3 AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID=s3-connector-tests AWS_SECRET_ACCESS_KEY=s3-connector-secret
say "testing on MinIO at $AWS_ENDPOINT_URL_S3"
run_suite "$@" 9>&-
