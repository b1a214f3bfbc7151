#!/bin/sh
# Holds the embedded server against moto: starts one on a free port of the loopback interface, runs the cases of
# likeness on it, and stops it. The other cases ask for more than moto does.
#
# The arguments are the program of moto's server, and the command that builds and runs the suite.
set -eu

SERVER=$1
shift

"$@" --no-run

LOG=$(mktemp)
env -i "PATH=$PATH" NO_COLOR=1 "$SERVER" --host 127.0.0.1 --port 0 > "$LOG" 2>&1 &
SERVING=$!
stop() {
    kill "$SERVING" 2> /dev/null || true
    wait "$SERVING" || true
    rm -f "$LOG"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

endpoint() { sed -n 's|.*Running on \(http://127.0.0.1:[0-9]*\).*|\1|p' "$LOG"; }

tries=0
while [ -z "$(endpoint)" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 600 ] || ! kill -0 "$SERVING" 2> /dev/null; then
        echo "make moto: moto did not start; it said:" >&2
        cat "$LOG" >&2
        exit 1
    fi
    sleep 0.1
done

AWS_ENDPOINT_URL_S3=$(endpoint)
export AWS_ENDPOINT_URL_S3 AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID=s3-connector-tests AWS_SECRET_ACCESS_KEY=s3-connector-secret
unset AWS_SESSION_TOKEN
echo "make moto: comparing with moto at $AWS_ENDPOINT_URL_S3" >&2
"$@" -- likeness::
