package js_test

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
