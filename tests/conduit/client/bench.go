// Owns the comparison with Conduit's own connector: both run in turn, twice, through the same client on the same server.
// Leaves what a run is to source.go and destination.go.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/conduitio/conduit-commons/opencdc"
)

const (
	objectBytes = 4096
	// As large as a row of a table.
	rowBytes = 256
	// Records per message, as a source with batches sends them.
	messageRecords = 500
	// Both connectors run as often, in turn, since other work on the machine comes and goes.
	rounds = 2
	// Linux counts CPU time in these.
	tick = 10 * time.Millisecond
)

// What a run has cost.
type cost struct {
	records int
	took    time.Duration
	cpu     time.Duration
}

func (c cost) rate() float64      { return float64(c.records) / c.took.Seconds() }
func (c cost) cpuMicros() float64 { return float64(c.cpu.Microseconds()) / float64(c.records) }

// A comparison. The Go connector is given fewer records where it would take minutes.
type comparison struct {
	name      string
	ours      int
	reference int
	goal      float64
	run       func(w *world, records int) cost
}

func comparisons(near, far string) []comparison {
	return []comparison{
		{"source, 4 KiB objects, 30 ms", 6000, 200, 40, reads(far)},
		{"source, 4 KiB objects, 0 ms", 6000, 3000, 5, reads(near)},
		{"destination, messages of 500", 100_000, 40_000, 5, writes(messageRecords)},
		{"destination, one by one", 30_000, 1500, 5, writes(1)},
	}
}

// CPU per record, of the best of our runs as a source and as a destination.
const cpuGoalMicros = 150

func bench(connector, reference, program, only string) {
	near, stopNear := startServer(program)
	defer stopNear()
	far, stopFar := startServer(program, "--latency", "30ms")
	defer stopFar()
	servers := map[string]*server{"near": near, "far": far}
	for _, s := range servers {
		s.makeBucket("bench")
		s.fill("bench", 6000, bytes.Repeat([]byte("x"), objectBytes))
	}
	fmt.Printf("%-30s %12s %12s %8s %6s  %s\n", "", "Go", "this one", "ratio", "goal", "CPU per record: Go, this one")
	for _, c := range comparisons("near", "far") {
		if !strings.Contains(c.name, only) {
			continue
		}
		compare(c, connector, reference, servers)
	}
	fmt.Printf("records per second; the goal of CPU per record is %d µs\n", cpuGoalMicros)
}

func compare(c comparison, connector, reference string, servers map[string]*server) {
	var theirs, ours []cost
	for range rounds {
		theirs = append(theirs, runOnce(c, reference, c.reference, servers))
		ours = append(ours, runOnce(c, connector, c.ours, servers))
	}
	their, our := mean(theirs), mean(ours)
	ratio := our.rate() / their.rate()
	verdict := ""
	if ratio < c.goal || our.cpuMicros() > cpuGoalMicros {
		verdict = "  below the goal"
	}
	fmt.Printf("%-30s %12.1f %12.1f %7.1fx %5.0fx  %7.1f µs %7.1f µs%s\n",
		c.name, their.rate(), our.rate(), ratio, c.goal, their.cpuMicros(), our.cpuMicros(), verdict)
}

func mean(costs []cost) cost {
	var sum cost
	for _, c := range costs {
		sum.records += c.records
		sum.took += c.took
		sum.cpu += c.cpu
	}
	return sum
}

func runOnce(c comparison, connector string, records int, servers map[string]*server) cost {
	state := must1(os.MkdirTemp("", "s3-connector-state-"))
	defer os.RemoveAll(state)
	return c.run(&world{connector: connector, state: state, servers: servers, server: servers["near"], level: "warn"}, records)
}

// Reads the first objects of the snapshot; each message is acked as a whole.
func reads(where string) func(*world, int) cost {
	return func(w *world, count int) cost {
		w.server = w.servers[where]
		s := openStream(w, "bench:source", w.server.settingsFromEnvironment("bench", nil), nil)
		meter := s.plugin.startMeter()
		came := 0
		for came < count {
			response := must1(s.stream.Recv())
			positions := make([]opencdc.Position, 0, len(response.Records))
			for _, record := range response.Records {
				positions = append(positions, record.Position)
			}
			s.ackTogether(positions)
			came += len(response.Records)
		}
		cost := meter.stop(came)
		s.cancel()
		s.plugin.client.Kill()
		return cost
	}
}

// Writes records in messages of this size: one by one without waiting, as Conduit's pipelines do; larger ones each after
// the acks of the one before, as its newer pipelines do.
func writes(size int) func(*world, int) cost {
	return func(w *world, count int) cost {
		settings := w.server.settingsFromEnvironment(w.server.bucket(), map[string]string{"format": "json"})
		s := openDestination(w, settings)
		all := rows(count)
		meter := s.plugin.startMeter()
		if size == 1 {
			go func() {
				for _, record := range all {
					s.write(record)
				}
			}()
			s.acks(all)
		} else {
			for from := 0; from < count; from += size {
				s.write(all[from : from+size]...)
				s.acks(all[from : from+size])
			}
		}
		cost := meter.stop(count)
		s.cancel()
		s.plugin.client.Kill()
		return cost
	}
}

func rows(count int) []opencdc.Record {
	all := make([]opencdc.Record, count)
	for n := range all {
		text := fmt.Sprintf(`{"id":%d,"text":"`, n)
		text += strings.Repeat("x", rowBytes-len(text)-2) + `"}`
		all[n] = opencdc.Record{
			Position:  opencdc.Position(fmt.Sprintf("position-%d", n)),
			Operation: opencdc.OperationCreate,
			Metadata:  opencdc.Metadata{opencdc.MetadataCollection: "rows"},
			Key:       opencdc.RawData(strconv.Itoa(n)),
			Payload:   opencdc.Change{After: opencdc.RawData(text)},
		}
	}
	return all
}

// Measures a plugin from now on.
type meter struct {
	pid   int
	begun time.Time
	cpu   time.Duration
}

func (l *launched) startMeter() meter {
	pid := l.pid()
	return meter{pid: pid, begun: time.Now(), cpu: cpuOf(pid)}
}

func (m meter) stop(records int) cost {
	return cost{records: records, took: time.Since(m.begun), cpu: cpuOf(m.pid) - m.cpu}
}

// The CPU time of a process, as Linux counts it: the 14th and 15th field, the 12th and 13th after its name.
func cpuOf(pid int) time.Duration {
	text := string(must1(os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))))
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	user := must1(strconv.Atoi(fields[11]))
	system := must1(strconv.Atoi(fields[12]))
	return time.Duration(user+system) * tick
}
