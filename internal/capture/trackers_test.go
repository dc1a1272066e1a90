package capture

import (
	"bytes"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/internal/playtest"

	"github.com/gopacket/gopacket/layers"
)

// frames of a GPS tracker, as in the maker's document, and what it is answered.
const (
	login     = "78 78 0d 01 01 23 45 67 89 01 23 45 00 01 8c dd 0d 0a"
	welcome   = "78 78 05 01 00 01 d9 dc 0d 0a"
	beat      = "78 78 0a 13 40 04 04 00 01 00 02 07 0b 0d 0a"
	beatHeard = "78 78 05 13 00 02 db 6a 0d 0a"
	// A position comes in two packets.
	position1  = "78 78 1f 12 0b 08 1d 11 2e 10 cf 02 7a c7 eb 0c 46 58 49 00"
	position2  = "14 8f 01 cc 00 28 7d 00 1f b8 00 03 80 81 0d 0a"
	alarm      = "78 78 25 16 0b 0b 0f 0e 24 1d cf 02 7a c8 87 0c 46 57 e6 00 14 02 09 01 cc 00 28 7d 00 1f 72 65 06 04 01 01 00 04 44 35 0d 0a"
	alarmHeard = "78 78 05 16 00 04 87 e1 0d 0a"
	voltage    = "79 79 00 08 94 00 04 ef 00 05 6c 06 0d 0a"
	beat2      = "78 78 0a 13 40 04 04 00 01 00 06 41 2f 0d 0a"
	beat2Heard = "78 78 05 13 00 06 9d 4e 0d 0a"
)

func bytesOf(t *testing.T, frame string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(frame, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A capture of a device, over a network that loses packets and changes their order, becomes a
// conversation, and that goes as it is written with the handlers of its protocol in each language.
func TestTrackers(t *testing.T) {
	t.Parallel()
	w := newWire(t, layers.LinkTypeEthernet)
	d := w.dial("10.20.30.40:31415", "192.0.2.1:5023")
	say := func(frame string) []byte {
		d.says(bytesOf(t, frame))
		return w.packets[len(w.packets)-1]
	}
	answer := func(frame string) []byte {
		d.answers(bytesOf(t, frame))
		return w.packets[len(w.packets)-1]
	}
	again := say(login)
	w.again(again) // its acknowledgement was late
	again = answer(welcome)
	w.again(again)
	w.pass(3 * time.Second)
	say(beat)
	again = answer(beatHeard)
	say(position1)
	first := w.last()
	say(position2)
	w.again(first) // behind what follows it
	w.again(again) // an answer that is long out of date
	w.pass(time.Minute)
	again = say(alarm)
	answer(alarmHeard)
	w.again(again)
	// A packet that begins with what the one before it had.
	d.next[0] -= uint32(len(bytesOf(t, alarm)))
	say(alarm + voltage)
	w.pass(3 * time.Minute)
	say(beat2)
	answer(beat2Heard)
	d.finish(false)
	d.finish(true)

	const want = `== connection 1, 10.20.30.40:31415
> x 78 78 0d 01 01 23 45 67 89 01 23 45 00 01 8c dd 0d 0a
< x 78 78 05 01 00 01 d9 dc 0d 0a
wait 3s
> x 78 78 0a 13 40 04 04 00 01 00 02 07 0b 0d 0a
< x 78 78 05 13 00 02 db 6a 0d 0a
> x 78 78 1f 12 0b 08 1d 11 2e 10 cf 02 7a c7 eb 0c 46 58 49 00 14 8f 01 cc 00 28 7d 00 1f b8 00 03
> x 80 81 0d 0a
wait 1m0s
> x 78 78 25 16 0b 0b 0f 0e 24 1d cf 02 7a c8 87 0c 46 57 e6 00 14 02 09 01 cc 00 28 7d 00 1f 72 65
> x 06 04 01 01 00 04 44 35 0d 0a
< x 78 78 05 16 00 04 87 e1 0d 0a
> x 79 79 00 08 94 00 04 ef 00 05 6c 06 0d 0a
wait 3m0s
> x 78 78 0a 13 40 04 04 00 01 00 06 41 2f 0d 0a
< x 78 78 05 13 00 06 9d 4e 0d 0a
>EOF
<EOF
`
	if got := body(t, w.pcap(), 5023); got != want {
		t.Fatalf("the conversation is\n%s\nwant\n%s", got, want)
	}

	traffic, err := Read(bytes.NewReader(w.pcap()), 5023)
	if err != nil {
		t.Fatal(err)
	}
	talk := traffic.Conversations("tracker.pcap")
	var handlers []string
	for _, end := range []string{".js", ".lua", ".py", ".wasm"} {
		found, err := filepath.Glob("../../examples/gt06/*" + end)
		if err != nil {
			t.Fatal(err)
		}
		handlers = append(handlers, found...)
	}
	if len(handlers) < 5 {
		t.Errorf("there are handlers in fewer than five languages: %q", handlers)
	}
	for _, handler := range handlers {
		t.Run(filepath.Base(handler), func(t *testing.T) {
			t.Parallel()
			playtest.Plays(t, handler, "tracker.talk", talk)
		})
	}
}
