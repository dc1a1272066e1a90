package tlsrecord

import "crypto/tls"

// Alerts (RFC 8446, 6).
const (
	alertWarning = 1
	alertFatal   = 2

	alertCloseNotify       = 0
	alertUnexpectedMessage = 10
	alertBadRecordMAC      = 20
	alertRecordOverflow    = 22
	alertIllegalParameter  = 47
	alertDecodeError       = 50
	alertProtocolVersion   = 70
	alertInternalError     = 80
	alertUserCanceled      = 90
)

// badRecord is said of all that cannot be authenticated, whatever the reason.
const badRecord = "bad record MAC"

// Error is why a connection is over, for a fault of the peer's.
type Error struct {
	// Alert is what the peer is to be told: Conn.Alert.
	Alert tls.AlertError
	What  string
}

// Error says what was wrong.
func (e *Error) Error() string { return "tls: " + e.What }

// Remote is the peer's alert, which ends the connection.
type Remote struct{ Alert tls.AlertError }

// Error is as crypto/tls has it.
func (e *Remote) Error() string { return "remote error: " + e.Alert.Error() }

// fail ends the peer's side.
func (c *Conn) fail(alert byte, what string) error {
	c.failed = true
	return &Error{tls.AlertError(alert), what}
}

// Alert appends the alert that an error of Open's or Length's asks for. Nothing can be sealed
// after.
func (c *Conn) Alert(dst []byte, e *Error) []byte {
	if c.closed {
		return dst
	}
	dst = c.seal(dst, typeAlert, []byte{alertFatal, byte(e.Alert)})
	c.closed = true
	return dst
}

// alert takes the peer's.
func (c *Conn) alert(p []byte) (Got, error) {
	if len(p) != 2 {
		return 0, c.fail(alertUnexpectedMessage, "an alert is not one")
	}
	level, alert := p[0], p[1]
	switch {
	case alert == alertCloseNotify:
		c.failed = true
		return Closed, nil
	case c.version == tls.VersionTLS13 && alert == alertUserCanceled, c.version != tls.VersionTLS13 && level == alertWarning:
		return Nothing, nil
	case c.version != tls.VersionTLS13 && level != alertFatal:
		return 0, c.fail(alertUnexpectedMessage, "an alert has no level")
	}
	c.failed = true
	return 0, &Remote{tls.AlertError(alert)}
}
