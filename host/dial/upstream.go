package dial

import (
	"log/slog"
	"net/netip"

	"bulkhead/csa"
	"bulkhead/plugins"
)

// Upstream is the creator of a connection that was dialled, and its signal.
type Upstream struct {
	site     Site
	at       int
	instance *plugins.Instance
	datagram *csa.CSA // the connection, over UDP; nil: it is not made yet, or over TCP
}

// Site is whose handler has dialled it.
func (u *Upstream) Site() Site { return u.site }

// SocketShutdown is the box CreatorFeedback.
func (u *Upstream) SocketShutdown(c *csa.CSA, r csa.Reason) {
	u.site.Ended(c, r)
	if !c.Spliced() {
		u.site.Retain(u.instance, -1)
	}
}

// ShutdownCSA gives the connection's places back.
func (u *Upstream) ShutdownCSA(*csa.CSA) {
	u.site.Loops()[u.at].Connections.Add(-1)
	u.site.ReleaseUpstream()
	u.site.Leave()
}

// Admit is asked by listeners alone.
func (u *Upstream) Admit(netip.AddrPort) (w csa.Wiring, answer csa.Admission) {
	return w, csa.TurnedAway
}

// Lost counts datagrams of a peer that was dialled over UDP, and logs it now and then.
func (u *Upstream) Lost(why csa.Loss, n int) {
	info := why.Info()
	args := []any{"lost_so_far", u.site.CountLost(why, n), "cause", info.Name}
	if u.datagram != nil {
		args = append(args, "connection", u.datagram.Number(), "peer", u.datagram.Peer())
	}
	u.site.LogLimited(slog.LevelWarn, "datagrams are lost of a peer that was dialled: "+info.Words, args...)
}

// Broken is told of a listener's socket alone.
func (u *Upstream) Broken(error) {}
