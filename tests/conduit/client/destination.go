// Owns the cases of a destination.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/conduitio/conduit-commons/opencdc"
	"github.com/conduitio/conduit-connector-protocol/pconnector"
)

func kill(pid int) {
	process := must1(os.FindProcess(pid))
	must(process.Kill())
}

// A destination at work.
type destinationSession struct {
	plugin      *launched
	destination pconnector.DestinationPlugin
	stream      pconnector.DestinationRunStreamClient
	cancel      context.CancelFunc
	came        chan pconnector.DestinationRunResponseAck
}

type destinationStreamer interface {
	NewStream() pconnector.DestinationRunStream
}

func openDestination(w *world, settings map[string]string) *destinationSession {
	plugin := launch(w.connector, w.env("p:d"))
	destination := dispense[pconnector.DestinationPlugin](plugin, "destination")
	ctx, cancel := context.WithCancel(context.Background())
	must1(destination.Configure(ctx, pconnector.DestinationConfigureRequest{Config: settings}))
	must1(destination.Open(ctx, pconnector.DestinationOpenRequest{}))
	stream := destination.(destinationStreamer).NewStream()
	must(destination.Run(ctx, stream))
	s := &destinationSession{plugin: plugin, destination: destination, stream: stream.Client(), cancel: cancel,
		came: make(chan pconnector.DestinationRunResponseAck, 100_000)}
	go func() {
		defer close(s.came)
		for {
			response, err := s.stream.Recv()
			if err != nil {
				return
			}
			for _, ack := range response.Acks {
				s.came <- ack
			}
		}
	}()
	return s
}

func (s *destinationSession) write(records ...opencdc.Record) {
	must(s.stream.Send(pconnector.DestinationRunRequest{Records: records}))
}

// Takes the acks of these records, which must come in order.
func (s *destinationSession) acks(records []opencdc.Record) {
	timeout := time.After(patience)
	for n, record := range records {
		select {
		case ack, ok := <-s.came:
			if !ok {
				fail("the stream ended after %d acks:\n%s", n, s.plugin.log.String())
			}
			if !bytes.Equal(ack.Position, record.Position) || ack.Error != "" {
				fail("the ack of %q came as %q %q", record.Position, ack.Position, ack.Error)
			}
		case <-timeout:
			fail("%d of %d acks came:\n%s", n, len(records), s.plugin.log.String())
		}
	}
}

func (s *destinationSession) stop(last opencdc.Position) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must1(s.destination.Stop(ctx, pconnector.DestinationStopRequest{LastPosition: last}))
}

func (s *destinationSession) end() {
	s.cancel()
	must1(s.destination.Teardown(context.Background(), pconnector.DestinationTeardownRequest{}))
	s.plugin.end()
}

func records(from, count int) []opencdc.Record {
	var all []opencdc.Record
	for n := from; n < from+count; n++ {
		all = append(all, opencdc.Record{
			Position:  opencdc.Position(fmt.Sprintf("p%d", n)),
			Operation: opencdc.OperationCreate,
			Metadata:  opencdc.Metadata{"n": fmt.Sprint(n)},
			Key:       opencdc.RawData(fmt.Sprintf("k%d", n)),
			Payload:   opencdc.Change{After: opencdc.StructuredData{"n": n}},
		})
	}
	return all
}

// The lines of all objects.
func (s *server) lines(bucket string) []map[string]any {
	var lines []map[string]any
	for _, body := range s.objects(bucket) {
		for _, line := range bytes.Split(bytes.TrimSpace(body), []byte("\n")) {
			var parsed map[string]any
			must(json.Unmarshal(line, &parsed))
			lines = append(lines, parsed)
		}
	}
	return lines
}

func jsonSettings(w *world, bucket string, more map[string]string) map[string]string {
	settings := w.server.settings(bucket, more)
	settings["format"] = "json"
	return settings
}

func recordByRecord(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, jsonSettings(w, bucket, map[string]string{"bufferSize": "100", "bufferDelay": "10m"}))
	s.write()
	all := records(0, 250)
	for _, record := range all {
		s.write(record)
	}
	s.acks(all[:200])
	if lines := w.server.lines(bucket); len(lines) != 200 {
		fail("200 records are acked, and %d are stored", len(lines))
	}
	s.stop(all[249].Position)
	s.acks(all[200:])
	if lines := w.server.lines(bucket); len(lines) != 250 {
		fail("250 records are acked, and %d are stored", len(lines))
	}
	s.end()
}

func waitedFor(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, jsonSettings(w, bucket, map[string]string{"bufferDelay": "10m"}))
	for batch := range 10 {
		all := records(batch*20, 20)
		s.write(all...)
		s.acks(all)
	}
	if count := len(w.server.objects(bucket)); count != 10 {
		fail("10 batches are %d objects", count)
	}
	s.end()
}

func deletes(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, jsonSettings(w, bucket, nil))
	all := records(0, 3)
	all[1].Operation, all[1].Payload, all[1].Key = opencdc.OperationDelete, opencdc.Change{}, nil
	s.write(all...)
	s.acks(all)
	lines := w.server.lines(bucket)
	if len(lines) != 3 || lines[1]["operation"] != "delete" || lines[1]["key"] != nil {
		fail("the objects hold %v", lines)
	}
	after := lines[0]["payload"].(map[string]any)["after"].(map[string]any)
	if after["n"] != 0.0 {
		fail("structured data became %v", after)
	}
	s.end()
}

func emptyStop(w *world) {
	s := openDestination(w, jsonSettings(w, w.server.bucket(), nil))
	begun := time.Now()
	s.stop(nil)
	if took := time.Since(begun); took > 10*time.Second {
		fail("Stop took %v", took)
	}
	s.end()
}
