package examples_test

import (
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// trackerFrame is a frame of one of the two kinds, with its CRC.
func trackerFrame(start string, content string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(content, " ", ""))
	if err != nil {
		panic(err)
	}
	length := []byte{byte(len(b) + 2)}
	if start == "7979" {
		length = []byte{byte((len(b) + 2) >> 8), byte(len(b) + 2)}
	}
	summed := append(length, b...)
	crc := uint16(0xffff)
	for _, c := range summed {
		crc ^= uint16(c)
		for range 8 {
			low := crc & 1
			crc >>= 1
			if low != 0 {
				crc ^= 0x8408
			}
		}
	}
	crc = ^crc
	head := "\x78\x78"
	if start == "7979" {
		head = "\x79\x79"
	}
	return head + string(summed) + string([]byte{byte(crc >> 8), byte(crc)}) + "\r\n"
}

func fromHex(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// The login and its answer are those of the maker's document, CRC and all.
var (
	trackerLogin    = fromHex("78 78 0d 01 01 23 45 67 89 01 23 45 00 01 8c dd 0d 0a")
	trackerWelcome  = fromHex("78 78 05 01 00 01 d9 dc 0d 0a")
	trackerBeat     = trackerFrame("7878", "13 40 04 04 00 01 00 0f")
	trackerPosition = trackerFrame("7878", "12 0b 08 1d 11 2e 10 cf 02 7a c7 eb 0c 46 58 49 00 14 8f 01 cc 00 28 7d 00 1f b8 00 03")
	trackerSouth    = trackerFrame("7878", "12 1a 0b 1e 00 00 00 c5 02 7a c7 eb 0c 46 58 49 37 18 5a 01 cc 00 28 7d 00 1f b8 00 04")
	trackerAlarm    = trackerFrame("7878", "16 0b 0b 0f 0e 24 1d cf 02 7a c8 87 0c 46 57 e6 00 14 02 09 01 cc 00 28 7d 00 1f 72 65 06 04 01 01 00 36")
	trackerVoltage  = trackerFrame("7979", "94 00 04 ef 01 a2")
)

// trackers has a test be of both handlers, that in JavaScript and that in C.
func trackers(t *testing.T, test func(t *testing.T, h *host.Host, log *hosttest.Lines, script bool)) {
	for _, plugin := range []string{"gt06/gt06.js", "gt06/gt06.wasm"} {
		t.Run(plugin, func(t *testing.T) {
			h, log := serveOne(t, "trackers", plugin)
			test(t, h, log, strings.HasSuffix(plugin, ".js"))
		})
	}
}

func TestGT06(t *testing.T) { trackers(t, talkToTrackers) }

func talkToTrackers(t *testing.T, h *host.Host, log *hosttest.Lines, _ bool) {
	all := trackerLogin + trackerBeat + trackerPosition + trackerSouth + trackerAlarm + trackerVoltage + trackerBeat
	for _, piece := range []int{len(all), 1, 7, 50} {
		c := hosttest.Dial(t, h.Addr("trackers"))
		for rest := all; rest != ""; {
			n := min(piece, len(rest))
			hosttest.Say(t, c, rest[:n])
			rest = rest[n:]
		}
		hosttest.Hear(t, c, trackerWelcome+trackerFrame("7878", "13 00 0f")+trackerFrame("7878", "16 00 36")+trackerFrame("7878", "13 00 0f"))
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		hosttest.HearEnd(t, c)
	}
	for _, line := range [][]string{
		{"login 123456789012345"},
		{"heartbeat 123456789012345 state=40 voltage=4 signal=4"},
		{"position 123456789012345 at=2011-08-29T17:46:16Z latitude=23.111668 longitude=114.409285 speed=0 course=143 satellites=15 fixed=true"},
		{"position 123456789012345 at=2026-11-30T00:00:00Z latitude=-23.111668 longitude=-114.409285 speed=55 course=90 satellites=5 fixed=true"},
		{"alarm 123456789012345 kind=", "SOS", "at=2011-11-15T14:36:29Z latitude=23.111755 longitude=114.409230"},
		{"information 123456789012345 kind=0 content=04ef"},
	} {
		log.Wait(line...)
	}
	counts := h.Stats().Tenants[0].Counts
	if counts["gt06_positions"] != 8 || counts["gt06_alarms"] != 4 || counts["gt06_bad_frames"] != 0 {
		t.Errorf("counted %v", counts)
	}
}

// A frame with a wrong CRC is left unanswered, and those behind it are heard.
func TestGT06WrongCRC(t *testing.T) { trackers(t, sendWrongCRC) }

func sendWrongCRC(t *testing.T, h *host.Host, log *hosttest.Lines, script bool) {
	c := hosttest.Dial(t, h.Addr("trackers"))
	wrong := []byte(trackerBeat)
	wrong[len(wrong)-3] ^= 1
	hosttest.Say(t, c, trackerLogin+string(wrong)+trackerBeat)
	hosttest.Hear(t, c, trackerWelcome+trackerFrame("7878", "13 00 0f"))
	if n := h.Stats().Tenants[0].Counts["gt06_bad_frames"]; n != 1 {
		t.Errorf("%d bad frames are counted", n)
	}
	hosttest.Say(t, c, strings.Repeat(string(wrong), 10))
	ended(t, c)
	log.Wait(append(thrown(script), "more than 10 frames have a wrong CRC")...)
}

// thrown is what a line of the log has besides where a script has thrown its error.
func thrown(script bool) []string {
	if script {
		return []string{"data of 127.0.0.1:", "gt06.js:"}
	}
	return nil
}

func TestGT06WhatIsNoTracker(t *testing.T) { trackers(t, sendNoTracker) }

func sendNoTracker(t *testing.T, h *host.Host, log *hosttest.Lines, script bool) {
	for said, why := range map[string]string{
		"GET / HTTP/1.1\r\n":                            "a frame begins with 4745, and not with 7878 or 7979",
		trackerBeat:                                     "a tracker says something before its login",
		"\x78\x78\x04\x01\x02\x03\x04\x05\r\n":          "a frame says that it has 4 bytes",
		"\x79\x79\xff\xff\x01\x02":                      "a frame says that it has 65535 bytes",
		"\x78\x78\x05\x01\x00\x01\xd9\xdcxx":            "a frame does not end in 0d 0a",
		trackerFrame("7878", "01 00 01"):                "a login has no IMEI",
		trackerLogin + trackerFrame("7878", "12 00 01"): " 18 bytes, and 0 are there",
	} {
		c := hosttest.Dial(t, h.Addr("trackers"))
		hosttest.Say(t, c, said)
		ended(t, c)
		log.Wait(append(thrown(script), why)...)
	}
}

// ended reads until the connection has ended, one way or the other.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.ReadAll(c); err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Fatal("the connection does not end")
		}
	}
}
