// Owns the cases in which a source is stopped, ended or disturbed, and in which it goes on in the middle of something.
// Leaves what a source delivers to source.go.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/conduitio/conduit-commons/opencdc"
	"github.com/conduitio/conduit-connector-protocol/pconnector"
)

// For how long nothing may happen that must not.
const quiet = 300 * time.Millisecond

// Fails if a record comes, or if the stream ends.
func (s *sourceSession) nothingComes() {
	select {
	case record, ok := <-s.came:
		if !ok {
			fail("the stream ended: %v", s.ended)
		}
		fail("%v of %q came after the last one", record.Operation, record.Key.Bytes())
	case <-time.After(quiet):
	}
}

// Waits for the end of the stream, drops what still comes, and says why it ended.
func (s *sourceSession) broken() error {
	timeout := time.After(patience)
	for {
		select {
		case _, ok := <-s.came:
			if !ok {
				return s.ended
			}
		case <-timeout:
			fail("the stream did not end")
		}
	}
}

func stopAtOnce(w *world) {
	s := openSource(w, "p:c", w.server.settings(w.server.bucket(), nil), nil)
	begun := time.Now()
	if last := s.stop(); len(last) != 0 {
		fail("nothing came, and the last position is %q", last)
	}
	if took := time.Since(begun); took > 5*time.Second {
		fail("Stop took %v", took)
	}
	s.nothingComes()
	s.end()
}

// Stop comes while thousands of records are on their way, and acks come after it.
func stopHalfway(w *world) {
	bucket := fill(w, 3000)
	settings := w.server.settings(bucket, nil)
	s := openSource(w, "p:c", settings, nil)
	records := s.take(10)
	last := s.stop()
	for !bytes.Equal(records[len(records)-1].Position, last) {
		records = append(records, s.take(1)...)
	}
	expectRest(records, 0)
	s.nothingComes()
	s.ack(records)
	s.nothingComes()
	s.end()
	s = openSource(w, "p:c", settings, last)
	expectRest(s.take(3000-len(records)), len(records))
	s.end()
}

// Killed in the middle of changes: what is not acked comes again, and nothing else.
func killInChanges(w *world) {
	bucket := w.server.bucket()
	settings := w.server.settings(bucket, map[string]string{"pollingPeriod": "50ms"})
	w.server.put(bucket, "first", nil)
	s := openSource(w, "p:c", settings, nil)
	s.ack(s.take(1))
	for n := range 60 {
		w.server.put(bucket, fmt.Sprintf("k%02d", n), []byte("new"))
	}
	changes := s.take(60)
	s.ack(changes[:20])
	kill(s.plugin.pid())
	if s.broken() == nil {
		fail("the stream of a killed plugin ended without an error")
	}
	s.cancel()
	s = openSource(w, "p:c", settings, changes[19].Position)
	again := keys(s.take(40))
	for _, change := range changes[20:] {
		if again[string(change.Key.Bytes())] != 1 {
			fail("after the restart came %v", again)
		}
	}
	s.nothingComes()
	s.end()
}

func keys(records []opencdc.Record) map[string]int {
	count := map[string]int{}
	for _, record := range records {
		count[string(record.Key.Bytes())]++
	}
	return count
}

// A position of the Go connector from the middle of its snapshot. It would begin anew.
func goSnapshotPosition(w *world) {
	bucket := fill(w, 10)
	position := opencdc.Position(fmt.Sprintf("k0004_s%d", time.Now().Unix()))
	s := openSource(w, "p:c", w.server.settings(bucket, nil), position)
	expectRest(s.take(5), 5)
	s.end()
}

// An object in chunks, with a restart in the middle of it.
func chunks(w *world) {
	bucket := w.server.bucket()
	body := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	w.server.put(bucket, "large", body)
	settings := w.server.settings(bucket, map[string]string{"chunkBytes": "1MiB"})
	s := openSource(w, "p:c", settings, nil)
	first := s.take(2)
	s.ack(first)
	s.end()
	s = openSource(w, "p:c", settings, first[1].Position)
	all := append(first, s.take(3)...)
	s.nothingComes()
	var joined []byte
	for n, chunk := range all {
		index, _ := chunk.Metadata.GetFileChunkIndex()
		count, _ := chunk.Metadata.GetFileChunkCount()
		if index != n+1 || count != 5 {
			fail("chunk %d is %d of %d", n+1, index, count)
		}
		joined = append(joined, chunk.Payload.After.Bytes()...)
	}
	if !bytes.Equal(joined, body) {
		fail("the chunks are not the object")
	}
	s.end()
}

// Ctrl-C in Conduit's terminal reaches its plugins, too, and a service manager's SIGTERM; Conduit then drains them in its
// own time, and needs them for that.
func signalled(w *world) {
	bucket := fill(w, 1)
	s := openSource(w, "p:c", w.server.settings(bucket, map[string]string{"pollingPeriod": "50ms"}), nil)
	records := s.take(1)
	must(syscall.Kill(s.plugin.pid(), syscall.SIGINT))
	time.Sleep(quiet)
	w.server.put(bucket, "later", []byte("new"))
	records = append(records, s.take(1)...)
	expect(records[1], opencdc.OperationCreate, "later", []byte("new"))
	must(syscall.Kill(s.plugin.pid(), syscall.SIGTERM))
	s.nothingComes()
	if last := s.stop(); !bytes.Equal(last, records[1].Position) {
		fail("Stop says %q", last)
	}
	s.ack(records)
	s.nothingComes()
	s.end()
}

// Calls around a connector's life; the last one removes what is kept for it.
func lifecycle(w *world) {
	bucket := fill(w, 3)
	settings := w.server.settings(bucket, nil)
	plugin := launch(w.connector, w.env("p:c"))
	source := dispense[pconnector.SourcePlugin](plugin, "source")
	ctx := context.Background()
	must1(source.Configure(ctx, pconnector.SourceConfigureRequest{Config: settings}))
	must1(source.LifecycleOnCreated(ctx, pconnector.SourceLifecycleOnCreatedRequest{Config: settings}))
	updated := pconnector.SourceLifecycleOnUpdatedRequest{ConfigBefore: settings, ConfigAfter: settings}
	must1(source.LifecycleOnUpdated(ctx, updated))
	must1(source.Teardown(ctx, pconnector.SourceTeardownRequest{}))
	plugin.end()

	s := openSource(w, "p:c", settings, nil)
	s.ack(s.take(3))
	s.stop()
	s.end()
	if len(must1(os.ReadDir(w.state))) == 0 {
		fail("nothing was kept for the source")
	}
	plugin = launch(w.connector, w.env("p:c"))
	source = dispense[pconnector.SourcePlugin](plugin, "source")
	must1(source.LifecycleOnDeleted(ctx, pconnector.SourceLifecycleOnDeletedRequest{Config: settings}))
	must1(source.Teardown(ctx, pconnector.SourceTeardownRequest{}))
	plugin.end()
	if left := must1(os.ReadDir(w.state)); len(left) != 0 {
		fail("%q is left of a deleted source", left[0].Name())
	}
}

// What keeps a source from opening is said by Open.
func noBucket(w *world) {
	plugin := launch(w.connector, w.env("p:c"))
	source := dispense[pconnector.SourcePlugin](plugin, "source")
	ctx := context.Background()
	must1(source.Configure(ctx, pconnector.SourceConfigureRequest{Config: w.server.settings("no-such-bucket", nil)}))
	if _, err := source.Open(ctx, pconnector.SourceOpenRequest{}); err == nil {
		fail("a bucket that is not there was opened")
	}
	must1(source.Teardown(ctx, pconnector.SourceTeardownRequest{}))
	plugin.end()
}
