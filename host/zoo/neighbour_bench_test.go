package zoo

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkNeighbour says what a neighbour feels of each dodge, by the clock: the 99th percentile
// of its round trips, the longest, and the longest event of a loop, in milliseconds. Its figures
// are worth something on a quiet machine:
//
//	go test -run XXX -bench Neighbour -benchtime 2000x ./host/zoo
func BenchmarkNeighbour(b *testing.B) {
	for _, d := range append([]dodge{{name: "nobody", guest: sink}}, dodges()...) {
		b.Run(d.name, func(b *testing.B) {
			daemon := startDodged(b, []dodge{d})
			stop := make(chan struct{})
			var all sync.WaitGroup
			defer all.Wait()
			defer close(stop)
			for range d.conns {
				all.Go(func() { d.goOn(daemon.addresses["dodge0"], stop) })
			}
			var conns []net.Conn // one on each loop
			for range 2 {
				conn, err := net.Dial("tcp", daemon.addresses["neighbour"])
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				conns = append(conns, conn)
			}
			var trips []time.Duration
			message := make([]byte, 64)
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for b.Loop() {
				<-tick.C
				for _, conn := range conns {
					began := time.Now()
					if _, err := conn.Write(message); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(conn, message); err != nil {
						b.Fatal(err)
					}
					trips = append(trips, time.Since(began))
				}
			}
			slices.Sort(trips)
			ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
			b.ReportMetric(ms(trips[(len(trips)-1)*99/100]), "p99-ms")
			b.ReportMetric(ms(trips[len(trips)-1]), "longest-ms")
			b.ReportMetric(ms(daemon.holds(b, "time").Stats.LongestEvent), "event-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
