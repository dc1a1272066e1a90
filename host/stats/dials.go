package stats

// DialOutcome is how a connection has come about, or not, that a handler has asked for.
type DialOutcome uint8

// The outcomes.
const (
	DialConnected   DialOutcome = iota // It is there. With TLS the handshake follows, and may fail.
	DialInvalid                        // The address makes no sense.
	DialDenied                         // The tenant's connect list does not name it, or the host stops.
	DialNotFound                       // Its name has no address, or its socket does not exist.
	DialRefused                        // Nobody accepts there.
	DialUnreachable                    // The network does not reach it.
	DialTimeout                        // It took longer than connect_timeout.
	DialQuota                          // There were too many: dials, upstreams, names, or descriptors.
	DialGivenUp                        // The handler did not want it any more, or has ended.
	DialFailed                         // It failed in another way.

	DialOutcomes // how many there are
)

var dialOutcomes = [DialOutcomes]string{
	"connected", "invalid", "denied", "not_found", "refused", "unreachable", "timeout", "quota", "given_up", "failed",
}

// String is the outcome as metrics have it.
func (o DialOutcome) String() string {
	if o < DialOutcomes {
		return dialOutcomes[o]
	}
	return dialOutcomes[DialFailed]
}
