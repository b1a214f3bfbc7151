#!/bin/sh
# Runs the conformance suite on a real S3 server: the one that the AWS variables name, or else a MinIO that is
# installed into target/minio, started on free ports of the loopback interface, and stopped afterwards.
#
# The arguments are the command that runs the tests; it is given the names of the tests behind them.
set -eu

VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BIN="$ROOT/target/minio/bin"

say() { echo "make s3: $*" >&2; }

run_tests() {
    "$@" ::real every_case_runs_in_every_world_or_says_why_not
}

if [ -n "${AWS_ACCESS_KEY_ID:-}" ]; then
    for name in AWS_SECRET_ACCESS_KEY AWS_REGION; do
        if eval "[ -z \"\${$name:-}\" ]"; then
            say "AWS_ACCESS_KEY_ID is set, but $name is not: set both, or neither to run on MinIO"
            exit 2
        fi
    done
    say "testing on ${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-AWS, region $AWS_REGION}}"
    run_tests "$@"
    exit
fi

if [ ! -x "$BIN/minio" ]; then
    if ! command -v go > /dev/null; then
        say "MinIO is built with Go (1.24 or newer), which is not here. Install Go, or set AWS_ENDPOINT_URL_S3,"
        say "AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to test on a server of yours."
        exit 2
    fi
    say "installing MinIO $VERSION into target/minio, once (a few minutes)"
    mkdir -p "$BIN"
    # Outside of any Go module, and at a lower priority than whoever waits for the machine.
    (cd "$BIN" && GOBIN="$BIN" nice -n 10 go install "github.com/minio/minio@$VERSION")
fi

DATA=$(mktemp -d)
SERVER=
stop() {
    if [ -n "$SERVER" ]; then
        kill "$SERVER" 2> /dev/null || true
        wait "$SERVER" 2> /dev/null || true
    fi
    rm -rf "$DATA"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# MinIO can't be asked for any free port, so ports are tried until it is ready on one.
ready() { curl --silent --fail --max-time 2 --output /dev/null "http://127.0.0.1:$1/minio/health/live"; }

start() {
    MINIO_ROOT_USER=s3-connector-tests MINIO_ROOT_PASSWORD=s3-connector-secret MINIO_BROWSER=off \
        MINIO_UPDATE=off "$BIN/minio" server --quiet --address "127.0.0.1:$1" \
        --console-address "127.0.0.1:$2" "$DATA/store" > "$DATA/log" 2>&1 &
    SERVER=$!
    tries=0
    while kill -0 "$SERVER" 2> /dev/null && [ "$tries" -lt 300 ]; do
        if ready "$1"; then
            return 0
        fi
        tries=$((tries + 1))
        sleep 0.1
    done
    kill "$SERVER" 2> /dev/null || true
    SERVER=
    return 1
}

PORT=$((20000 + $$ % 10000))
for _ in 1 2 3 4 5 6 7 8; do
    # What answers before we start is somebody else's.
    if ! ready "$PORT" && start "$PORT" $((PORT + 1)); then
        break
    fi
    PORT=$((PORT + 101))
done
if [ -z "$SERVER" ]; then
    say "MinIO did not start; it said:"
    cat "$DATA/log" >&2
    exit 1
fi

export AWS_ENDPOINT_URL_S3="http://127.0.0.1:$PORT" AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID=s3-connector-tests AWS_SECRET_ACCESS_KEY=s3-connector-secret
unset AWS_SESSION_TOKEN AWS_PROFILE || true
say "testing on MinIO at $AWS_ENDPOINT_URL_S3"
run_tests "$@"
