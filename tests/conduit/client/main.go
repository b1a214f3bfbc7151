// Owns the cases that run a connector binary with the very client of Conduit, against a server in memory. Leaves starting
// the server to server.go, and what each case does to source.go and destination.go.
//
// Usage: client CONNECTOR SERVER [--beside GO_CONNECTOR]
//
// With --beside it measures both connectors instead.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/conduitio/conduit-connector-protocol/pconnector"
	"github.com/conduitio/conduit-connector-protocol/pconnector/client"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
)

// How long anything may take that must come.
const patience = 2 * time.Minute

// A case that fails panics with this.
type failure string

func fail(format string, args ...any) {
	panic(failure(fmt.Sprintf(format, args...)))
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func must1[T any](value T, err error) T {
	must(err)
	return value
}

// The log of a plugin as go-plugin hands it on.
type logBuffer struct {
	mutex sync.Mutex
	text  strings.Builder
}

func (l *logBuffer) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(line)
}

func (l *logBuffer) whole() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// The last lines of it, which say why a case failed.
func (l *logBuffer) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	lines := strings.Split(strings.TrimSpace(l.text.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// Conduit's client passes no options for a writer, which its own logger takes and hclog's does not.
type logger struct{ hclog.Logger }

func (l logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return l.Logger.StandardWriter(&hclog.StandardLoggerOptions{})
}

// A plugin that Conduit's client has launched.
type launched struct {
	client *plugin.Client
	log    *logBuffer
}

func launch(connector string, env map[string]string) *launched {
	log := &logBuffer{}
	logger := logger{hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug})}
	options := []client.Option{}
	for name, value := range env {
		options = append(options, client.WithEnvVar(name, value))
	}
	return &launched{client: must1(client.New(logger, connector, options...)), log: log}
}

func (l *launched) pid() int {
	return l.client.ReattachConfig().Pid
}

func dispense[T any](l *launched, kind string) T {
	rpc := must1(l.client.Client())
	return must1(rpc.Dispense(kind)).(T)
}

// Ends the plugin as Conduit does, and looks whether it went by itself.
func (l *launched) end() {
	begun := time.Now()
	l.client.Kill()
	if took := time.Since(begun); took > 2*time.Second {
		fail("the plugin took %v to end", took)
	}
	if log := l.log.whole(); strings.Contains(log, "failed to exit gracefully") {
		fail("the plugin did not end by itself:\n%s", l.log)
	}
}

// What every case gets.
type world struct {
	connector string
	server    *server
	state     string
	// Benches have several, by name, and log less.
	servers map[string]*server
	level   string
}

func (w *world) env(id string) map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL":                          w.server.endpoint,
		"CONDUIT_CONNECTOR_UTILITIES_GRPC_TARGET":   "127.0.0.1:1",
		"CONDUIT_CONNECTOR_ID":                      id,
		"CONDUIT_CONNECTOR_LOG_LEVEL":               cmp.Or(w.level, "debug"),
		"CONDUIT_CONNECTOR_TOKEN":                   "{}",
		"CONDUIT_CONNECTOR_MAX_RECEIVE_RECORD_SIZE": "104857600",
		"S3_CONNECTOR_STATE":                        w.state,
	}
}

func specify(w *world) {
	plugin := launch(w.connector, nil)
	specifier := dispense[pconnector.SpecifierPlugin](plugin, "specifier")
	begun := time.Now()
	answer := must1(specifier.Specify(context.Background(), pconnector.SpecifierSpecifyRequest{}))
	if took := time.Since(begun); took > 100*time.Millisecond {
		fail("Specify took %v", took)
	}
	told := answer.Specification
	if told.Name != "s3" || !strings.HasPrefix(told.Version, "v") {
		fail("it calls itself %q %q", told.Name, told.Version)
	}
	source := []string{"aws.accessKeyId", "aws.secretAccessKey", "aws.region", "aws.bucket", "prefix", "pollingPeriod",
		"sdk.batch.size", "sdk.batch.delay", "sdk.schema.context.enabled", "sdk.schema.context.name",
		"sdk.schema.extract.type", "sdk.schema.extract.key.enabled", "sdk.schema.extract.key.subject",
		"sdk.schema.extract.payload.enabled", "sdk.schema.extract.payload.subject"}
	destination := []string{"aws.accessKeyId", "aws.secretAccessKey", "aws.region", "aws.bucket", "prefix", "format",
		"sdk.batch.size", "sdk.batch.delay", "sdk.rate.perSecond", "sdk.rate.burst", "sdk.record.format",
		"sdk.record.format.options", "sdk.schema.extract.key.enabled", "sdk.schema.extract.payload.enabled"}
	for _, name := range source {
		if _, ok := told.SourceParams[name]; !ok {
			fail("a source has no parameter %q", name)
		}
	}
	for _, name := range destination {
		if _, ok := told.DestinationParams[name]; !ok {
			fail("a destination has no parameter %q", name)
		}
	}
	plugin.end()
}

func run(name string, connector string, server *server, body func(*world)) (ok bool) {
	state := must1(os.MkdirTemp("", "s3-connector-state-"))
	defer os.RemoveAll(state)
	begun := time.Now()
	defer func() {
		plugin.CleanupClients()
		if why := recover(); why != nil {
			reason, is := why.(failure)
			if !is {
				panic(why)
			}
			fmt.Printf("FAILED  %s: %s\n", name, reason)
			ok = false
		}
	}()
	body(&world{connector: connector, server: server, state: state})
	fmt.Printf("ok      %s (%.1f s)\n", name, time.Since(begun).Seconds())
	return true
}

func main() {
	switch {
	case len(os.Args) == 3:
		runCases()
	case len(os.Args) >= 5 && os.Args[3] == "--beside":
		bench(os.Args[1], os.Args[4], os.Args[2], strings.Join(os.Args[5:], " "))
	default:
		fmt.Fprintln(os.Stderr, "usage: client CONNECTOR SERVER [--beside GO_CONNECTOR [ONLY_WHAT_HAS_THIS]]")
		os.Exit(2)
	}
}

func runCases() {
	server, stop := startServer(os.Args[2])
	defer stop()
	cases := []struct {
		name string
		body func(*world)
	}{
		{"specify", specify},
		{"source: snapshot, then changes", snapshotAndChanges},
		{"source: restarts in the snapshot", restartInSnapshot},
		{"source: restart after kill -9", restartAfterKill},
		{"source: 5,000 records without an ack", lateAcks},
		{"source: wrong settings", wrongSettings},
		{"source: configured and torn down", configuredAndTornDown},
		{"source: stop before anything came", stopAtOnce},
		{"source: stop in the middle, late acks", stopHalfway},
		{"source: kill -9 in the middle of changes", killInChanges},
		{"source: a position of the Go connector's snapshot", goSnapshotPosition},
		{"source: chunks, with a restart among them", chunks},
		{"source: SIGINT and SIGTERM", signalled},
		{"source: created, updated, deleted", lifecycle},
		{"source: no bucket", noBucket},
		{"source: a position of the Go connector", goPosition},
		{"destination: record by record", recordByRecord},
		{"destination: batches that are waited for", waitedFor},
		{"destination: nothing to delete", deletes},
		{"destination: stop without records", emptyStop},
		{"destination: acks after objects", acksAfterObjects},
		{"destination: kill -9", killedDestination},
		{"destination: binary payload", binaryPayload},
		{"destination: parquet", parquet},
		{"destination: a refused record", refused},
		{"destination: sdk.batch.size", batchSize},
		{"destination: sdk.batch.delay", batchDelay},
		{"destination: wrong settings", wrongDestinationSettings},
		{"destination: created, updated, deleted", destinationLifecycle},
	}
	failed := 0
	for _, c := range cases {
		if !run(c.name, os.Args[1], server, c.body) {
			failed++
		}
	}
	if failed > 0 {
		fmt.Printf("%d of %d failed\n", failed, len(cases))
		stop()
		os.Exit(1)
	}
	fmt.Printf("all %d passed\n", len(cases))
}
