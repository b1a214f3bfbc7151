// Owns the cases of a source.
package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/conduitio/conduit-commons/opencdc"
	"github.com/conduitio/conduit-connector-protocol/pconnector"
)

// A source at work.
type sourceSession struct {
	plugin *launched
	source pconnector.SourcePlugin
	stream pconnector.SourceRunStreamClient
	cancel context.CancelFunc
	came   chan opencdc.Record
	// Why the stream ended; to be read once `came` is closed.
	ended error
}

// A stream is what Conduit's client makes; the interface leaves it out.
type streamer interface {
	NewStream() pconnector.SourceRunStream
}

// Opens a source and its stream, which the caller reads.
func openStream(w *world, id string, settings map[string]string, position opencdc.Position) *sourceSession {
	plugin := launch(w.connector, w.env(id))
	source := dispense[pconnector.SourcePlugin](plugin, "source")
	ctx, cancel := context.WithCancel(context.Background())
	must1(source.Configure(ctx, pconnector.SourceConfigureRequest{Config: settings}))
	must1(source.Open(ctx, pconnector.SourceOpenRequest{Position: position}))
	stream := source.(streamer).NewStream()
	must(source.Run(ctx, stream))
	return &sourceSession{plugin: plugin, source: source, stream: stream.Client(), cancel: cancel}
}

func openSource(w *world, id string, settings map[string]string, position opencdc.Position) *sourceSession {
	s := openStream(w, id, settings, position)
	s.came = make(chan opencdc.Record, 100_000)
	go func() {
		defer close(s.came)
		for {
			response, err := s.stream.Recv()
			if err != nil {
				s.ended = err
				return
			}
			for _, record := range response.Records {
				s.came <- record
			}
		}
	}()
	return s
}

func (s *sourceSession) take(count int) []opencdc.Record {
	var records []opencdc.Record
	timeout := time.After(patience)
	for len(records) < count {
		select {
		case record, ok := <-s.came:
			if !ok {
				fail("the stream ended after %d of %d records:\n%s", len(records), count, s.plugin.log.String())
			}
			if len(record.Position) == 0 || len(record.Metadata) == 0 {
				fail("a record has no position or no metadata: %v", record)
			}
			records = append(records, record)
		case <-timeout:
			fail("%d of %d records came:\n%s", len(records), count, s.plugin.log.String())
		}
	}
	return records
}

func (s *sourceSession) ack(records []opencdc.Record) {
	for _, record := range records {
		must(s.stream.Send(pconnector.SourceRunRequest{AckPositions: []opencdc.Position{record.Position}}))
	}
}

func (s *sourceSession) ackTogether(positions []opencdc.Position) {
	must(s.stream.Send(pconnector.SourceRunRequest{AckPositions: positions}))
}

func (s *sourceSession) stop() opencdc.Position {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return must1(s.source.Stop(ctx, pconnector.SourceStopRequest{})).LastPosition
}

// Ends it in Conduit's order: the stream, the source, the process.
func (s *sourceSession) end() {
	s.cancel()
	must1(s.source.Teardown(context.Background(), pconnector.SourceTeardownRequest{}))
	s.plugin.end()
}

func expect(record opencdc.Record, operation opencdc.Operation, key string, body []byte) {
	if record.Operation != operation || string(record.Key.Bytes()) != key {
		fail("%v of %q came in place of %v of %q", record.Operation, record.Key.Bytes(), operation, key)
	}
	if body != nil && !bytes.Equal(record.Payload.After.Bytes(), body) {
		fail("%q has %d other bytes than its object", key, len(record.Payload.After.Bytes()))
	}
	if body == nil && record.Payload.After != nil {
		fail("a delete of %q has a payload", key)
	}
}

func snapshotAndChanges(w *world) {
	bucket := w.server.bucket()
	binary := []byte{0, 0xff, 0xfe, 'a'}
	large := bytes.Repeat([]byte("0123456789"), 500_000)
	w.server.put(bucket, "a", binary)
	w.server.put(bucket, "b", large)
	s := openSource(w, "p:c", w.server.settings(bucket, map[string]string{"pollingPeriod": "50ms"}), nil)
	snapshot := s.take(2)
	expect(snapshot[0], opencdc.OperationSnapshot, "a", binary)
	expect(snapshot[1], opencdc.OperationSnapshot, "b", large)
	s.ack(snapshot)
	w.server.put(bucket, "c", []byte("new"))
	created := s.take(1)
	expect(created[0], opencdc.OperationCreate, "c", []byte("new"))
	w.server.put(bucket, "a", []byte("other"))
	updated := s.take(1)
	expect(updated[0], opencdc.OperationUpdate, "a", []byte("other"))
	w.server.remove(bucket, "b")
	deleted := s.take(1)
	expect(deleted[0], opencdc.OperationDelete, "b", nil)
	if last := s.stop(); !bytes.Equal(last, deleted[0].Position) {
		fail("Stop says %q, but the last record is at %q", last, deleted[0].Position)
	}
	s.ack(append(append(created, updated...), deleted...))
	s.end()
	// A restart in the middle of the changes.
	w.server.put(bucket, "d", []byte("later"))
	s = openSource(w, "p:c", w.server.settings(bucket, map[string]string{"pollingPeriod": "50ms"}), deleted[0].Position)
	expect(s.take(1)[0], opencdc.OperationCreate, "d", []byte("later"))
	s.end()
}

func fill(w *world, count int) string {
	bucket := w.server.bucket()
	w.server.fill(bucket, count, []byte("x"))
	return bucket
}

func expectRest(records []opencdc.Record, from int) {
	for n, record := range records {
		expect(record, opencdc.OperationSnapshot, fmt.Sprintf("k%04d", from+n), []byte("x"))
	}
}

func restartInSnapshot(w *world) {
	bucket := fill(w, 300)
	settings := w.server.settings(bucket, nil)
	var position opencdc.Position
	for from := 0; from < 300; from += 100 {
		s := openSource(w, "p:c", settings, position)
		records := s.take(100)
		expectRest(records, from)
		s.ack(records)
		position = records[99].Position
		s.end()
	}
}

func restartAfterKill(w *world) {
	bucket := fill(w, 200)
	settings := w.server.settings(bucket, nil)
	s := openSource(w, "p:c", settings, nil)
	records := s.take(50)
	s.ack(records)
	kill(s.plugin.pid())
	s.cancel()
	s = openSource(w, "p:c", settings, records[49].Position)
	expectRest(s.take(150), 50)
	s.end()
}

// Conduit acks what it has persisted, a second after it came: until then the source goes on.
func lateAcks(w *world) {
	bucket := fill(w, 5000)
	s := openSource(w, "p:c", w.server.settings(bucket, nil), nil)
	records := s.take(5000)
	expectRest(records, 0)
	if last := s.stop(); !bytes.Equal(last, records[4999].Position) {
		fail("Stop says %q", last)
	}
	s.ack(records)
	s.end()
}

func wrongSettings(w *world) {
	plugin := launch(w.connector, w.env("validate-source-config"))
	source := dispense[pconnector.SourcePlugin](plugin, "source")
	config := map[string]string{"prefx": "a", "pollingPeriod": "soon", "sdk.batch.size": "-3"}
	_, err := source.Configure(context.Background(), pconnector.SourceConfigureRequest{Config: config})
	if err == nil {
		fail("wrong settings were taken")
	}
	for _, name := range []string{"prefx", "pollingPeriod", "sdk.batch.size", "aws.bucket"} {
		if !strings.Contains(err.Error(), name) {
			fail("%q is not named: %v", name, err)
		}
	}
	must1(source.Teardown(context.Background(), pconnector.SourceTeardownRequest{}))
	plugin.end()
}

func configuredAndTornDown(w *world) {
	plugin := launch(w.connector, w.env("validate-source-config"))
	source := dispense[pconnector.SourcePlugin](plugin, "source")
	settings := w.server.settings(w.server.bucket(), nil)
	must1(source.Configure(context.Background(), pconnector.SourceConfigureRequest{Config: settings}))
	must1(source.Teardown(context.Background(), pconnector.SourceTeardownRequest{}))
	plugin.end()
}

func goPosition(w *world) {
	bucket := fill(w, 3)
	// The Go connector has read all of it by a second that is over; what is put from now on is stamped later, whether the first
	// listing sees it already or not.
	time.Sleep(3 * time.Second)
	position := opencdc.Position(fmt.Sprintf("k0002_c%d", time.Now().Unix()))
	settings := w.server.settings(bucket, map[string]string{"pollingPeriod": "50ms", "lookback": "1s"})
	s := openSource(w, "p:c", settings, position)
	w.server.put(bucket, "k0001", []byte("new"))
	record := s.take(1)[0]
	if string(record.Key.Bytes()) != "k0001" {
		fail("%q came", record.Key.Bytes())
	}
	s.end()
}
