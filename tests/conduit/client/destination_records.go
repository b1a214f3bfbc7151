// Owns the cases of what a destination is sent: bytes, formats, records that it must refuse, batches as settings have them.
// Leaves acks and ends to destination.go.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"github.com/conduitio/conduit-commons/opencdc"
	"github.com/conduitio/conduit-connector-protocol/pconnector"
)

func binaryPayload(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, jsonSettings(w, bucket, nil))
	all := records(0, 2)
	data := []byte{0, 0xff, 0xfe, 'a', '<', '\n'}
	all[0].Key, all[0].Payload.After, all[0].Position = opencdc.RawData(data), opencdc.RawData(data), data
	all[0].Payload.Before = opencdc.RawData("before")
	s.write(all...)
	s.acks(all)
	lines := w.server.lines(bucket)
	want := base64.StdEncoding.EncodeToString(data)
	payload := lines[0]["payload"].(map[string]any)
	before := base64.StdEncoding.EncodeToString([]byte("before"))
	if lines[0]["key"] != want || payload["after"] != want || payload["before"] != before || lines[0]["position"] != want {
		fail("the object holds %v", lines)
	}
	s.end()
}

// The rows are for readers of Parquet to count; here the file must be whole, with a footer that fits into it.
func parquet(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, w.server.settings(bucket, map[string]string{"format": "parquet"}))
	all := records(0, 50)
	all[7].Operation, all[7].Payload, all[7].Key = opencdc.OperationDelete, opencdc.Change{}, nil
	s.write(all...)
	s.acks(all)
	magic := []byte("PAR1")
	for _, body := range w.server.objects(bucket) {
		if len(body) < 12 || !bytes.HasPrefix(body, magic) || !bytes.HasSuffix(body, magic) {
			fail("an object is no Parquet")
		}
		if footer := binary.LittleEndian.Uint32(body[len(body)-8:]); int(footer) > len(body)-12 {
			fail("the footer is larger than the object")
		}
	}
	if len(w.server.objects(bucket)) == 0 {
		fail("nothing was stored")
	}
	s.end()
}

// A record that can't be stored is refused with a reason; those around it are stored. A payload may have 5 GiB, but not a key.
func refused(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, jsonSettings(w, bucket, nil))
	all := records(0, 3)
	all[1].Key = opencdc.RawData(bytes.Repeat([]byte("x"), 70<<20))
	s.write(all...)
	s.acks(all[:1])
	select {
	case ack := <-s.came:
		if !bytes.Equal(ack.Position, all[1].Position) || ack.Error == "" {
			fail("the record that is too large has the ack %q %q", ack.Position, ack.Error)
		}
	case <-time.After(patience):
		fail("no ack came of the record that is too large:\n%s", s.plugin.log.String())
	}
	s.acks(all[2:])
	if lines := w.server.lines(bucket); len(lines) != 2 {
		fail("%d records are stored", len(lines))
	}
	// It goes on after that.
	more := records(3, 1)
	s.write(more...)
	s.acks(more)
	s.end()
}

func batchSize(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, jsonSettings(w, bucket, map[string]string{"sdk.batch.size": "10", "sdk.batch.delay": "10m"}))
	all := records(0, 100)
	for _, record := range all {
		s.write(record)
	}
	s.acks(all)
	if count := len(w.server.objects(bucket)); count != 10 {
		fail("100 records in batches of 10 are %d objects", count)
	}
	s.end()
}

// A delay alone batches, too: all come within it.
func batchDelay(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, jsonSettings(w, bucket, map[string]string{"sdk.batch.delay": "1s"}))
	all := records(0, 100)
	for _, record := range all {
		s.write(record)
	}
	s.acks(all)
	if count := len(w.server.objects(bucket)); count > 2 {
		fail("100 records within a second are %d objects", count)
	}
	s.end()
}

// The acks come after the objects: whenever one is there, so is what it acks.
func acksAfterObjects(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, jsonSettings(w, bucket, map[string]string{"bufferSize": "50"}))
	all := records(0, 500)
	go func() {
		for _, record := range all {
			s.write(record)
		}
	}()
	for from := 0; from < len(all); from += 50 {
		s.acks(all[from : from+50])
		if stored := len(w.server.lines(bucket)); stored < from+50 {
			fail("%d records are acked, and %d are stored", from+50, stored)
		}
	}
	s.end()
}

// A killed destination has stored all that it acked.
func killedDestination(w *world) {
	bucket := w.server.bucket()
	s := openDestination(w, jsonSettings(w, bucket, map[string]string{"bufferSize": "50", "bufferDelay": "10m"}))
	all := records(0, 120)
	for _, record := range all {
		s.write(record)
	}
	s.acks(all[:100])
	kill(s.plugin.pid())
	s.cancel()
	s = openDestination(w, jsonSettings(w, bucket, map[string]string{"bufferSize": "50"}))
	s.write(all[100:]...)
	s.acks(all[100:])
	if stored := len(w.server.lines(bucket)); stored != 120 {
		fail("120 records are acked, and %d are stored", stored)
	}
	s.end()
}

func wrongDestinationSettings(w *world) {
	plugin := launch(w.connector, w.env("validate-destination-config"))
	destination := dispense[pconnector.DestinationPlugin](plugin, "destination")
	config := map[string]string{"aws.region": "r", "format": "xml", "sdk.rate.burst": "-3", "sdk.record.format": "debezium/json"}
	_, err := destination.Configure(context.Background(), pconnector.DestinationConfigureRequest{Config: config})
	if err == nil {
		fail("wrong settings were taken")
	}
	for _, name := range []string{"format", "sdk.rate.burst", "sdk.record.format", "aws.bucket"} {
		if !strings.Contains(err.Error(), name) {
			fail("%q is not named: %v", name, err)
		}
	}
	must1(destination.Teardown(context.Background(), pconnector.DestinationTeardownRequest{}))
	plugin.end()
}

func destinationLifecycle(w *world) {
	settings := jsonSettings(w, w.server.bucket(), nil)
	plugin := launch(w.connector, w.env("p:d"))
	destination := dispense[pconnector.DestinationPlugin](plugin, "destination")
	ctx := context.Background()
	must1(destination.Configure(ctx, pconnector.DestinationConfigureRequest{Config: settings}))
	must1(destination.LifecycleOnCreated(ctx, pconnector.DestinationLifecycleOnCreatedRequest{Config: settings}))
	updated := pconnector.DestinationLifecycleOnUpdatedRequest{ConfigBefore: settings, ConfigAfter: settings}
	must1(destination.LifecycleOnUpdated(ctx, updated))
	must1(destination.Teardown(ctx, pconnector.DestinationTeardownRequest{}))
	plugin.end()
	plugin = launch(w.connector, w.env("p:d"))
	destination = dispense[pconnector.DestinationPlugin](plugin, "destination")
	must1(destination.LifecycleOnDeleted(ctx, pconnector.DestinationLifecycleOnDeletedRequest{Config: settings}))
	must1(destination.Teardown(ctx, pconnector.DestinationTeardownRequest{}))
	plugin.end()
}
