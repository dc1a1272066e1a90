package python_test

import "testing"

// Each of the mistakes that authors make is told in one message, with the file, the line and the
// mend.
func TestMistakes(t *testing.T) { scripts.Mistakes(t) }

// What a script does not catch ends its connection with a cause of its own, and is counted.
func TestFailures(t *testing.T) { scripts.Failures(t) }

// A handler that consumes nothing of all that there is room for is told of, once.
func TestNothingIsConsumed(t *testing.T) { scripts.Stuck(t) }

// Each send is a message over WebSocket, whoever does not read; what is known of the connection is
// told.
func TestMessages(t *testing.T) { scripts.Messages(t) }

// The peer of a connection that was dialled is known.
func TestPeerOfWhatIsDialled(t *testing.T) { scripts.Dialled(t) }

// Frames come whole, with their length in either order, and within their limit; data gets again
// what it has not consumed.
func TestFrames(t *testing.T) { scripts.Frames(t) }

// A line within its limit comes whole, and a longer one closes its connection.
func TestLongLines(t *testing.T) { scripts.LongLines(t) }

// Over UDP a datagram is a line's beginning and its end, and a message of its own when it is sent.
func TestUDP(t *testing.T) { scripts.UDP(t) }

// A script begins TLS in the midst of a connection, and what its handler is may change then.
func TestSecure(t *testing.T) { scripts.Secure(t) }

// What the inbox has no room for waits in the script's queue, in order, and requests wait
// meanwhile.
func TestShortSends(t *testing.T) { scripts.ShortSends(t) }
