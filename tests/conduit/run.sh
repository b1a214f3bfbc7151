#!/usr/bin/env bash
# Runs the plugin in a real Conduit, on a server in memory: S3 to a file, a generator to S3, S3 to S3, restarts, kills, the API,
# in both of Conduit's architectures. Leaves single calls of the protocol to the tests of the client.
#
# Usage: run.sh CONDUIT CONNECTOR SERVER
set -euo pipefail

CONDUIT=${1:-} CONNECTOR=$2 SERVER=$3
if [ -z "$CONDUIT" ] || [ ! -x "$CONDUIT" ]; then
    echo 'make conduit: name a Conduit, as in `make conduit CONDUIT=/path/to/conduit`. With Go, one is built by' >&2
    echo '  git clone https://github.com/ConduitIO/conduit && cd conduit && go build -o conduit ./cmd/conduit' >&2
    exit 2
fi
ROOT=$(mktemp -d)
SERVER_PID='' CONDUIT_PID='' CASE=''
export AWS_ACCESS_KEY_ID=embedded-access-key AWS_SECRET_ACCESS_KEY=embedded-secret-key AWS_REGION=us-east-1
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true

end() {
    [ -z "$CONDUIT_PID" ] || kill -9 "$CONDUIT_PID" 2> /dev/null || true
    [ -z "$SERVER_PID" ] || kill "$SERVER_PID" 2> /dev/null || true
    rm -rf "$ROOT"
}
trap end EXIT

die() {
    echo "FAILED  $CASE: $*"
    tail -25 "$HOME_OF_CASE/log" | cut -c1-400 || true
    exit 1
}

# Waits until a command succeeds.
wait_for() {
    local what=$1
    shift
    for _ in $(seq 600); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.1
    done
    die "$what did not come"
}

port_of_log() { sed -n 's/.*http:\/\/127\.0\.0\.1:\([0-9]*\).*/\1/p' "$1" | head -1 | grep .; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# A case has a name, a folder and a port.
begin() {
    CASE="$1${ARCHITECTURE:+, arch v2}"
    HOME_OF_CASE="$ROOT/$(echo "$CASE" | tr -c 'a-z0-9\n' -)"
    mkdir -p "$HOME_OF_CASE"/{connectors,pipelines,state}
    ln -s "$CONNECTOR" "$HOME_OF_CASE/connectors/s3-connector"
    API=$(free_port)
}

start_conduit() {
    cd "$HOME_OF_CASE"
    S3_CONNECTOR_STATE="$HOME_OF_CASE/state" "$CONDUIT" run --connectors.path connectors --pipelines.path pipelines \
        --db.type badger --db.badger.path db --api.enabled=true --api.http.address "127.0.0.1:$API" \
        --api.grpc.address 127.0.0.1:0 --log.level debug --log.format json "${ARCHITECTURE[@]}" >> log 2>&1 &
    CONDUIT_PID=$!
    cd - > /dev/null
}

stop_conduit() {
    kill -TERM "$CONDUIT_PID"
    wait "$CONDUIT_PID" || true
    CONDUIT_PID=''
    ! grep -q 'failed to exit gracefully' "$HOME_OF_CASE/log" || die 'the plugin did not end by itself'
    ! grep -q 'could not load standalone connector plugin' "$HOME_OF_CASE/log" || die 'the plugin was not loaded'
}

passed() { echo "ok      $CASE"; }

# Puts records into a bucket, by the command itself: one object per record, by batches of one.
fill() {
    local bucket=$1 from=$2 to=$3
    for n in $(seq "$from" "$to"); do
        printf '{"position":"%s","operation":"create","key":"%s","payload":{"after":{"n":%d}}}\n' \
            "$(printf 'f%s' "$n" | base64)" "$(printf 'k%s' "$n" | base64)" "$n"
    done | "$CONNECTOR" destination --quiet --set "aws.bucket=$bucket" --set format=json --set bufferSize=1
}

lines() { [ -f "$1" ] && [ "$(wc -l < "$1")" -ge "$2" ]; }

# Lines of all objects of a bucket, each as the record that it holds.
records() { "$CONNECTOR" source --quiet --until-caught-up --set "aws.bucket=$1" | jq -r '.payload.after | @base64d'; }

has_records() { [ "$(records "$1" | wc -l)" -ge "$2" ]; }

connector() {
    printf '      - id: %s\n        type: %s\n        plugin: %s\n        settings:\n' "$1" "$2" "$3"
    shift 3
    for setting in "$@"; do printf '          %s: "%s"\n' "${setting%%=*}" "${setting#*=}"; done
}

pipeline() { printf 'version: 2.2\npipelines:\n  - id: p\n    status: running\n    connectors:\n'; }

s3_to_file() {
    begin 's3 to a file, stopped and started'
    { pipeline; connector src source standalone:s3 "aws.bucket=$1" pollingPeriod=200ms
      connector out destination builtin:file path=./out.jsonl; } > "$HOME_OF_CASE/pipelines/p.yaml"
    fill "$1" 1 20
    start_conduit
    wait_for '20 records' lines "$HOME_OF_CASE/out.jsonl" 20
    stop_conduit
    fill "$1" 21 30
    start_conduit
    wait_for '30 records' lines "$HOME_OF_CASE/out.jsonl" 30
    pkill -9 -P "$CONDUIT_PID" s3-connector || die 'there is no plugin to kill'
    fill "$1" 31 40
    wait_for '40 records after the kill' lines "$HOME_OF_CASE/out.jsonl" 40
    stop_conduit
    local keys
    keys=$(jq -r '.payload.after | @base64d | fromjson | .key | @base64d' "$HOME_OF_CASE/out.jsonl" | sort -u | wc -l)
    [ "$keys" = 40 ] || die "$keys of 40 objects came"
    passed
}

generator_to_s3() {
    begin "generator to s3, $2, $3"
    { pipeline; connector gen source builtin:generator "format.type=$3" format.options.id=int format.options.name=string \
          recordCount=200 rate=1000 operations=create,update,delete
      connector dst destination standalone:s3 "aws.bucket=$1" "format=$2" bufferDelay=1s; } > "$HOME_OF_CASE/pipelines/p.yaml"
    start_conduit
    if [ "$2" = json ]; then
        wait_for '200 records' has_records "$1" 200
        if [ "$3" = structured ]; then
            records "$1" | jq -es 'map(select(.operation != "delete") | .payload.after | type) | all(. == "object")' > /dev/null \
                || die 'structured data are not structured'
        fi
    else
        wait_for 'objects' has_records "$1" 1
    fi
    stop_conduit
    passed
}

s3_to_s3() {
    begin 's3 to s3, killed and started'
    { pipeline; connector src source standalone:s3 "aws.bucket=$1" pollingPeriod=200ms
      connector dst destination standalone:s3 "aws.bucket=$2" format=json bufferDelay=500ms; } > "$HOME_OF_CASE/pipelines/p.yaml"
    fill "$1" 1 20
    start_conduit
    wait_for '20 records' has_records "$2" 20
    local plugins
    plugins=$(pgrep -P "$CONDUIT_PID" s3-connector)
    kill -9 "$CONDUIT_PID"
    wait "$CONDUIT_PID" 2> /dev/null || true
    for plugin in $plugins; do wait_for 'the end of the orphans' is_gone "$plugin"; done
    fill "$1" 21 30
    start_conduit
    wait_for '30 records' has_records "$2" 30
    stop_conduit
    passed
}

is_gone() { ! kill -0 "$1" 2> /dev/null; }

status_is() { [ "$(curl -s "http://127.0.0.1:$API/v1/pipelines/p" | jq -r .state.status)" = "$1" ]; }

by_api() {
    begin 'stop, start and wrong settings by the api'
    { pipeline; connector src source standalone:s3 "aws.bucket=$1" pollingPeriod=200ms
      connector out destination builtin:file path=./out.jsonl; } > "$HOME_OF_CASE/pipelines/p.yaml"
    fill "$1" 1 5
    start_conduit
    wait_for '5 records' lines "$HOME_OF_CASE/out.jsonl" 5
    curl -sf -X POST "http://127.0.0.1:$API/v1/pipelines/p/stop" > /dev/null
    wait_for 'the stop' status_is STATUS_STOPPED
    fill "$1" 6 9
    curl -sf -X POST "http://127.0.0.1:$API/v1/pipelines/p/start" > /dev/null
    wait_for '9 records' lines "$HOME_OF_CASE/out.jsonl" 9
    local id refusal
    id=$(curl -sf -X POST "http://127.0.0.1:$API/v1/pipelines" -d '{"config":{"name":"q"}}' | jq -r .id)
    refusal=$(curl -s -X POST "http://127.0.0.1:$API/v1/connectors" -d "{\"type\":\"TYPE_SOURCE\",\"plugin\":\"standalone:s3\",\
\"pipelineId\":\"$id\",\"config\":{\"name\":\"c\",\"settings\":{\"prefx\":\"a\",\"concurrency\":\"many\"}}}")
    for name in prefx concurrency aws.bucket; do
        echo "$refusal" | grep -q "$name" || die "the refusal does not name $name: $refusal"
    done
    stop_conduit
    passed
}

buckets=()
for bucket in a b c d e f g h i; do buckets+=(--bucket "bucket-$bucket"); done
"$SERVER" --versioning "${buckets[@]}" > "$ROOT/server" 2>&1 &
SERVER_PID=$!
HOME_OF_CASE=$ROOT
ARCHITECTURE=()
wait_for 'the server' port_of_log "$ROOT/server"
AWS_ENDPOINT_URL_S3="http://127.0.0.1:$(port_of_log "$ROOT/server")"
export AWS_ENDPOINT_URL_S3
s3_to_file bucket-a
generator_to_s3 bucket-b json structured
generator_to_s3 bucket-c json raw
generator_to_s3 bucket-d parquet raw
s3_to_s3 bucket-a bucket-e
by_api bucket-f
ARCHITECTURE=(--preview.pipeline-arch-v2)
s3_to_file bucket-g
generator_to_s3 bucket-h json raw
s3_to_s3 bucket-g bucket-i
echo 'all passed'
